"""A trained model on disk: weights as safetensors, and a JSON of what builds the network again. Nothing is unpickled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from handbone.errors import UserError
from handbone.hashing import file_hash
from handbone.models import build_model
from handbone.models.uniform import UniformModel

WEIGHTS, SETTINGS = "model.safetensors", "model.json"


@dataclass(frozen=True)
class Settings:
    """What builds the network again, what it started from (the files' hash; of `none` that of its note), which folds it knows (the
    hash of their table), the longer side in pixels that it was trained at, and where the weights come from.
    """

    arch: str
    encoder: str | None
    in_channels: int
    classes: list[str]
    options: dict[str, Any]
    weights: str
    weights_sha256: str
    folds_sha256: str
    size: int
    fold: int
    epoch: int
    dice: float


def save_model(folder: Path, weights: dict[str, Tensor], settings: Settings) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, SETTINGS):
        (folder / name).unlink(missing_ok=True)  # it may be a link into DVC's cache, which would be written through
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)
    (folder / SETTINGS).write_text(json.dumps(asdict(settings), indent=1) + "\n")


def read_settings(folder: Path) -> Settings:
    """The settings of the trained model in `folder`; a `UserError` where there is none."""
    if not (folder / WEIGHTS).is_file() or not (folder / SETTINGS).is_file():
        raise UserError(f"{folder}: expected {WEIGHTS} and {SETTINGS}; found no trained model; run dvc repro")
    return Settings(**json.loads((folder / SETTINGS).read_text()))


def load_model(folder: Path) -> tuple[UniformModel, Settings]:
    """The network in eval mode on the CPU, and its settings; nothing is downloaded."""
    settings = read_settings(folder)
    model = build_model(settings.arch, settings.encoder, None, settings.in_channels, len(settings.classes), **settings.options)
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.eval(), settings


def weights_hash(folder: Path) -> str:
    """SHA-256 of the weights' file."""
    return file_hash(folder / WEIGHTS)
