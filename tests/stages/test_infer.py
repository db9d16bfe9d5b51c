"""Networks run once and their probabilities are kept: each fold's model on its held-out people, the mean of all on the test set."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from stages.infer import main

from handbone.cache.resize import resized
from handbone.cache.sample import read_sample
from handbone.config import paths
from handbone.masks.cropped_maps import CroppedMaps
from handbone.models.registry import build_model
from handbone.models.saved import WEIGHTS, TrainedModelInfo, load_model, save_model
from handbone.models.spec import ModelSpec
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_json, read_table, write_table
from imports import ROOT

if TYPE_CHECKING:
    from conftest import ChangeParams, Fails

KEYS = {"oof": {"A/a1": [0], "A/a2": [0], "B/b1": [1], "B/b2": [1]}, "test": {"C/c1": [0, 1], "D/d1": [0, 1]}}


OPTIONS = {"decoder_channels": [8, 8, 4, 4, 4]}
MODEL = {"model.arch": "Unet", "model.encoder": "tu-resnet10t", "model.options": {"Unet": OPTIONS}}
NAN = "network.segmentation_head.0.bias"


def save_models(classes: list[str], changes: Mapping[int, dict[str, Any]] = MappingProxyType({})) -> None:
    """Two folds' models with different random weights. changes: of the weights, by fold."""
    spec = ModelSpec("Unet", "tu-resnet10t", 1, classes, OPTIONS)
    for fold in (0, 1):
        torch.manual_seed(fold)
        info = TrainedModelInfo(spec, None, None, file_hash(paths.FOLDS), 32, fold, 1, 0.5)
        save_model(paths.fold_model(fold), build_model(spec).state_dict() | changes.get(fold, {}), info)


@pytest.fixture
def trained_run(cached_run: ChangeParams) -> ChangeParams:
    cached_run(MODEL)
    write_table(paths.AREAS, pd.DataFrame(columns=["key", "class", "pixels", "x", "y"]))
    save_models(["Radius", "Ulna"])
    return cached_run


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["stages.infer", *arguments])
    main()


@torch.no_grad()
def mean_probs(subset: str, key: str, folds: list[int]) -> np.ndarray:
    """(C, h, w) in 0..1, computed plainly."""
    image = resized(read_sample(paths.cached_sample(subset, key)).image, (21, 32))
    batch = torch.from_numpy(image)[None, None] / 255
    probs = [load_model(paths.fold_model(fold))[0](batch)[0].sigmoid() for fold in folds]
    return torch.stack(probs).mean(0).numpy()


@pytest.mark.parametrize("subset", ["oof", "test"])
def test_each_sample_is_predicted_by_its_models(trained_run: ChangeParams, monkeypatch: pytest.MonkeyPatch, subset: str) -> None:
    run(monkeypatch, subset)
    found = {key: CroppedMaps.load(paths.prediction(subset, key)).dense() for key in KEYS[subset]}
    for key, folds in KEYS[subset].items():
        expected = mean_probs("train" if subset == "oof" else "test", key, folds)
        assert np.abs(found[key] / 255 - expected).max() < 0.01
    assert sorted(path.name for path in (paths.PREDICTIONS / subset).rglob("*.npz")) == sorted(f"{key[2:]}.npz" for key in KEYS[subset])


def test_the_record_names_the_models_by_fold(trained_run: ChangeParams, monkeypatch: pytest.MonkeyPatch) -> None:
    trained_run({"folds": [1]})
    run(monkeypatch, "oof")
    assert not paths.prediction("oof", "A/a1").exists(), "fold 0 is not among the parameters' folds"
    ((fold, model),) = read_json(paths.prediction_record("oof"))["models"].items()
    assert fold == "1" and model["sha256"] == file_hash(paths.fold_model(1) / WEIGHTS)
    assert model["spec"]["arch"] == "Unet" and model["spec"]["classes"] == ["Radius", "Ulna"] and model["fold"] == 1


def test_models_of_other_classes_are_refused(trained_run: ChangeParams, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    trained_run({"data.classes": ["Ulna", "Radius"]})
    with fails("model.classes", "models/fold_0", "models/fold_1"):
        run(monkeypatch, "oof")


def test_models_of_another_network_than_params_are_refused(
    trained_run: ChangeParams, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    trained_run({"model.options": {}})
    with fails("model.params", "models/fold_0", "models/fold_1"):
        run(monkeypatch, "test")


def test_a_damaged_model_is_refused_by_name(trained_run: ChangeParams, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    file = paths.fold_model(1) / WEIGHTS
    data = bytearray(file.read_bytes())
    data[-7] ^= 1
    file.write_bytes(data)
    with fails("model.corrupt", f"models/fold_1/{WEIGHTS}"):
        run(monkeypatch, "test")


def test_held_out_people_are_those_of_the_training(trained_run: ChangeParams, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    """With another table of folds a model may have seen them; the test set has no folds."""
    write_table(paths.FOLDS, read_table(paths.FOLDS).iloc[::-1])
    with fails("model.other_folds", "models/fold_0", "models/fold_1"):
        run(monkeypatch, "oof")
    run(monkeypatch, "test")


@pytest.mark.parametrize("changes", [{}, {"infer.hflip": True}, {"infer.window_size": 16, "infer.window_stride": 8}])
def test_logits_that_are_not_finite_name_the_fold(
    changes: dict[str, Any], trained_run: ChangeParams, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    """Weights can be finite and their logits infinite: one fold would decide the masks of the whole ensemble."""
    largest = torch.finfo(torch.float32).max
    head = {"network.segmentation_head.0.weight": torch.full((2, 4, 3, 3), largest), NAN: torch.full((2,), largest)}
    trained_run(changes)
    save_models(["Radius", "Ulna"], {1: head})
    with fails("infer.not_finite", "models/fold_1"):
        run(monkeypatch, "test")
    assert not paths.prediction_record("test").exists()
    trained_run({"folds": [0]})
    run(monkeypatch, "test")


@pytest.mark.parametrize(
    ("bias", "warning"),
    [([500.0, -500.0], "only 0 and 1 in all 2 images"), ([0.0, -500.0], "data/predictions/test: Ulna"), ([0.0, 0.0], "")],
)
def test_absurd_probabilities_are_a_warning(
    bias: list[float], warning: str, trained_run: ChangeParams, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_models(["Radius", "Ulna"], {fold: {NAN: torch.tensor(bias)} for fold in (0, 1)})
    run(monkeypatch, "test")
    warnings = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert len(warnings) == bool(warning) and warning in "".join(warnings)


def test_an_interrupted_run_leaves_no_record(trained_run: ChangeParams, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    run(monkeypatch, "test")
    paths.cached_sample("test", "D/d1").unlink()
    with fails("cache.missing", "D/d1"):
        run(monkeypatch, "test")
    assert not paths.prediction_record("test").exists()


@pytest.mark.parametrize("arguments", [[], ["train"], ["oof", "test"], ["0"]])
def test_an_argument_other_than_a_subset_is_an_error(arguments: list[str], monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    with fails("stage.argument", "python -m stages.infer"):
        run(monkeypatch, *arguments)


def launch(subset: str) -> subprocess.CompletedProcess[str]:
    """The stage as DVC runs it, with one thread per process, as the last bits depend on their number."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", "stages.infer", subset], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("subset", ["oof", "test"])
def test_two_processes_write_the_files_of_one(trained_run: ChangeParams, subset: str) -> None:
    written = []
    for processes in (1, 2):
        trained_run({"infer.batch_size": 1, "machine.gpus_per_fold": processes})
        done = launch(subset)
        assert done.returncode == 0, done.stderr[-3000:]
        files = [path for path in (paths.PREDICTIONS / subset).rglob("*") if path.is_file()]
        written.append({path: path.read_bytes() for path in files})
        shutil.rmtree(paths.PREDICTIONS)
    assert len(written[0]) == len(KEYS[subset]) + 1 and written[0] == written[1]


@pytest.mark.slow
def test_an_error_in_one_of_two_processes_ends_both_and_is_printed_once(trained_run: ChangeParams) -> None:
    """Fold 1 has one batch, so only one process sees the fault."""
    trained_run({"infer.batch_size": 2, "machine.gpus_per_fold": 2})
    save_models(["Radius", "Ulna"], {1: {NAN: torch.full((2,), torch.finfo(torch.float32).max)}})
    done = launch("oof")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("finite logits") == 1 and "models/fold_1" in done.stderr
    assert not paths.prediction_record("oof").exists()
