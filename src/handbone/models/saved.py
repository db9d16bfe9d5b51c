"""A trained model on disk: weights as safetensors, and a JSON with the description of the network. Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from handbone.models.registry import build_model
from handbone.models.spec import ModelSpec
from handbone.models.wrapper import SegmentationModel
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_json, replacing, write_json

WEIGHTS, INFO = "model.safetensors", "model.json"


@dataclass(frozen=True)
class TrainedModelInfo:
    """The description of a trained model, as model.json keeps it.

    spec: of its network; weights, weights_sha256: `model.weights` of its training, and the hash of that file; folds_sha256: of the table
    of folds; size: longer side of the images in pixels; fold: the one that it did not see; epoch, dice: of the best epoch, which was kept.
    """

    spec: ModelSpec
    weights: str | None
    weights_sha256: str
    folds_sha256: str
    size: int
    fold: int
    epoch: int
    dice: float


def save_model(folder: Path, weights: dict[str, Tensor], info: TrainedModelInfo) -> None:
    """Write the weights and the description into `folder`."""
    with replacing(folder / WEIGHTS) as partial:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, partial)
    write_json(folder / INFO, asdict(info))


def read_info(folder: Path) -> TrainedModelInfo:
    """The description of the trained model in `folder`. Raises `UserError` (`model.missing`) if there is none."""
    missing = [name for name in (WEIGHTS, INFO) if not (folder / name).is_file()]
    if missing:
        raise UserError(Problem("model.missing", str(folder), f"{WEIGHTS} and {INFO}", f"no {' and no '.join(missing)}", "run dvc repro"))
    document: dict[str, Any] = read_json(folder / INFO)
    return TrainedModelInfo(**document | {"spec": ModelSpec(**document["spec"])})


def load_model(folder: Path) -> tuple[SegmentationModel, TrainedModelInfo]:
    """The trained network in eval mode on the CPU, and its description; nothing is downloaded.

    Raises `UserError` (`model.missing`) if there is none.
    """
    info = read_info(folder)
    model = build_model(info.spec)
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.eval(), info


def load_folds(folders: Mapping[int, Path], classes: Sequence[str]) -> tuple[dict[int, SegmentationModel], list[TrainedModelInfo]]:
    """The trained networks by fold, and their descriptions in the same order.

    Raises `UserError` for a folder without a model (`model.missing`), for models whose classes are not `classes` by name and order
    (`model.classes`), and for models of different image sizes or channels (`model.folds_differ`).
    """
    loaded = {fold: load_model(folder) for fold, folder in folders.items()}
    infos = [info for _, info in loaded.values()]
    problems = []
    for fold, info in zip(folders, infos, strict=True):
        if list(info.spec.classes) != list(classes):
            found, fix = ", ".join(info.spec.classes), "run dvc repro, or set data.classes to those of the model"
            problems.append(Problem("model.classes", str(folders[fold]), f"the classes of params.yaml ({', '.join(classes)})", found, fix))
        if (info.size, info.spec.in_channels) != (infos[0].size, infos[0].spec.in_channels):
            expected = f"{infos[0].size} px and {infos[0].spec.in_channels} channels, as in the first fold"
            found = f"{info.size} px and {info.spec.in_channels} channels"
            problems.append(Problem("model.folds_differ", str(folders[fold]), expected, found, "run dvc repro"))
    raise_if_any(problems, "the models cannot be used together")
    return {fold: model for fold, (model, _) in loaded.items()}, infos


def weights_hash(folder: Path) -> str:
    """SHA-256 of the file with the weights of the trained model in `folder`."""
    return file_hash(folder / WEIGHTS)
