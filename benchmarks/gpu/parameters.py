"""The parameters of a preset, for the synthetic data set and without weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.runner import Setup
from handbone.cli.params_yaml import params_text
from handbone.cli.preset import PRESETS, preset_params
from handbone.config.params import Params
from handbone.utils.io import write_text

Changes = Mapping[str, Any]  # dotted keys of params.yaml, e.g. train.size
COMMON: Changes = {
    "data.root": "data/phantom",
    "phantom.size": 2048,
    "phantom.train_people": 20,
    "phantom.test_people": 4,
    "split.n_folds": 4,
    "folds": [0],
    "model.weights": None,
    "machine.resume_dir": "resume",
}
TINY: Changes = {
    "phantom.size": 128,
    "phantom.train_people": 6,
    "phantom.test_people": 2,
    "split.n_folds": 3,
    "train.size": 64,
    "train.batch_size": 2,
    "infer.batch_size": 2,
    "machine.num_workers": 1,
    "model.options": {"Unet": {"decoder_channels": [64, 48, 32, 24, 16]}},
}
TINY_ENCODERS = {"gpu24": "tu-resnet10t", "gpu80": "tu-convnext_atto"}


def parameters(setup: Setup, changes: Changes | None = None, preset: str = "") -> Params:
    """The parameters of `preset` (default: the section's, or gpu24), changed."""
    name = preset or setup.preset or "gpu24"
    document = preset_params(name, PRESETS).model_dump()
    tiny = {**TINY, "model.encoder": TINY_ENCODERS[name]} if setup.tiny else {}
    for key, value in {**COMMON, **tiny, **(changes or {})}.items():
        section, _, field = key.rpartition(".")
        (document[section] if section else document)[field] = value
    return Params.model_validate(document)


def write_params(params: Params, folder: Path = Path()) -> None:
    """Write params.yaml for the stages that run in `folder`."""
    write_text(folder / "params.yaml", params_text(params, "Written by `python -m benchmarks.gpu`."))
