"""A trained model on disk: weights as safetensors, and a JSON with the description of the network. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from handbone.models.contract import check_contract
from handbone.models.pretrained import check_finite, mismatches
from handbone.models.registry import build_model
from handbone.models.spec import ModelSpec
from handbone.models.wrapper import SegmentationModel
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_json, write_bytes, write_json

WEIGHTS, INFO = "model.safetensors", "model.json"
CHECKSUM = "checksum"  # key of model.json: the hash of all others
RESTORE = "restore the folder (dvc checkout --force), or remove it and run dvc repro"


@dataclass(frozen=True)
class TrainedModelInfo:
    """The description of a trained model, as model.json keeps it.

    spec: of its network; weights, weights_sha256: `model.weights` of its training, and the hash of that file, if it is one; folds_sha256:
    of the table of folds; size: longer side of the images in pixels; fold: the one that it did not see; epoch, dice: of the best epoch,
    which was kept; machine: what else decides the weights (`models.device.describe_machine`, and the batch size, which may be left to it);
    sha256: of model.safetensors, set when it is saved.
    """

    spec: ModelSpec
    weights: str | None
    weights_sha256: str | None
    folds_sha256: str
    size: int
    fold: int
    epoch: int
    dice: float
    machine: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""


def save_model(folder: Path, weights: dict[str, Tensor], info: TrainedModelInfo) -> None:
    """Write the weights and the description into `folder`."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    write_bytes(folder / WEIGHTS, data)
    document = asdict(replace(info, sha256=hashlib.sha256(data).hexdigest()))
    write_json(folder / INFO, document | {CHECKSUM: _checksum(document)})


def _checksum(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def read_info(folder: Path) -> TrainedModelInfo:
    """The description of the trained model in `folder`.

    Raises `UserError` if there is no model (`model.missing`) and if model.json is not as it was written (`model.info`).
    """
    missing = [name for name in (WEIGHTS, INFO) if not (folder / name).is_file()]
    if missing:
        raise UserError(Problem("model.missing", str(folder), f"{WEIGHTS} and {INFO}", f"no {' and no '.join(missing)}", "run dvc repro"))
    document: Any = read_json(folder / INFO)
    keys = {each.name for each in fields(TrainedModelInfo)}
    checksum = document.pop(CHECKSUM, None) if isinstance(document, dict) else None
    if checksum is None or document.keys() != keys or checksum != _checksum(document):
        found = "a change since then, or the file of another version"
        raise UserError(Problem("model.info", str(folder / INFO), "the description as the training wrote it", found, RESTORE))
    return TrainedModelInfo(**document | {"spec": ModelSpec(**document["spec"])})


def read_model_weights(folder: Path, info: TrainedModelInfo) -> dict[str, Tensor]:
    """The weights of the trained model in `folder`.

    Raises `UserError` if they are not those of its training (`model.corrupt`) or not finite (`weights.not_finite`).
    """
    file = folder / WEIGHTS
    if (found := file_hash(file)) != info.sha256:
        expected = f"the weights that {INFO} describes, with SHA-256 {info.sha256[:12]}..."
        raise UserError(Problem("model.corrupt", str(file), expected, f"{found[:12]}...: the file was changed or damaged", RESTORE))
    state = load_file(file)
    check_finite(state, file)
    return state


def load_model(folder: Path, info: TrainedModelInfo | None = None) -> tuple[SegmentationModel, TrainedModelInfo]:
    """The trained network in eval mode on the CPU, and its description (`info`, if it was read before); nothing is downloaded.

    Its weights are channels_last, as in training: they decide how convolutions run, as an image of one channel has both formats at once.
    Raises `UserError` as `read_info` and `read_model_weights` do, and for tensors that the network does not have (`weights.mismatch`).
    """
    info = info or read_info(folder)
    state = read_model_weights(folder, info)
    model = build_model(info.spec)
    raise_if_any(mismatches(model.state_dict(), state, str(folder / WEIGHTS)), "the model cannot be used")
    model.load_state_dict(state)
    return model.eval().to(memory_format=torch.channels_last), info  # type: ignore[call-overload]


def load_folds(
    folders: Mapping[int, Path], spec: ModelSpec, size: int, side: int, folds: Path | None = None
) -> tuple[dict[int, SegmentationModel], list[TrainedModelInfo]]:
    """The trained networks by fold, and their descriptions in the same order.

    spec, size: the network and the image size of params.yaml; side: in pixels, of the largest images that the networks will get. folds: the
    table of folds, if each model must be one that has not seen its fold of this table.
    Raises `UserError` for each model that is missing or damaged (`model.missing`, `model.info`, `model.corrupt`, `weights.not_finite`) or
    that is not the one of params.yaml and its folder (`model.classes`, `model.params`, `model.fold`, `model.other_folds`).
    """
    infos = _each({fold: (read_info, folder) for fold, folder in folders.items()})
    first = next(iter(infos.values()))
    problems = [problem for fold, info in infos.items() for problem in _differences(fold, info, first, spec, size, str(folders[fold]))]
    problems += _seen_folds(folders, infos, folds) if folds else []
    raise_if_any(problems, "the models cannot be used together")
    loaded = _each({fold: (load_model, folder, infos[fold]) for fold, folder in folders.items()})
    models = {fold: model for fold, (model, _) in loaded.items()}
    check_contract(next(iter(models.values())), spec, side)
    return models, list(infos.values())


def _each(calls: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
    """Call each function with its arguments -> the results by fold. One `UserError` lists the problems of all."""
    results: dict[int, Any] = {}
    problems: list[Problem] = []
    for fold, (function, *arguments) in calls.items():
        try:
            results[fold] = function(*arguments)
        except UserError as error:
            problems += error.problems
    raise_if_any(problems, "the models cannot be used")
    return results


def _differences(fold: int, info: TrainedModelInfo, first: TrainedModelInfo, spec: ModelSpec, size: int, place: str) -> list[Problem]:
    """What makes a model another one than that of params.yaml and of its folder."""
    problems = []
    if list(info.spec.classes) != list(spec.classes):
        expected, found = f"the classes of params.yaml ({', '.join(spec.classes)})", ", ".join(info.spec.classes)
        fix = "run dvc repro, or set data.classes to those of the model"
        problems.append(Problem("model.classes", place, expected, found, fix))
    here, there = _described(spec, size), _described(info.spec, info.size)
    if differing := [key for key in here if here[key] != there[key]]:
        expected = f"the network of params.yaml: {', '.join(f'{key} {here[key]}' for key in differing)}"
        found = ", ".join(f"{key} {there[key]}" for key in differing)
        problems.append(Problem("model.params", place, expected, found, "run dvc repro, or set these keys as they were"))
    if info.fold != fold:
        problems.append(Problem("model.fold", place, f"the model of fold {fold}", f"that of fold {info.fold}", RESTORE))
    if info.folds_sha256 != first.folds_sha256:
        expected, found = "a training on the same table of folds as the first model's", "another one"
        problems.append(Problem("model.other_folds", place, expected, found, "run dvc repro"))
    return problems


def _seen_folds(folders: Mapping[int, Path], infos: Mapping[int, TrainedModelInfo], folds: Path) -> list[Problem]:
    """The models that were trained on another table of folds than the file `folds`."""
    now, expected = file_hash(folds), f"a training on the folds of {folds}"
    found, fix = "other folds, so that the model may have been trained on people who are held out now", "run dvc repro"
    others = [folders[fold] for fold, info in infos.items() if info.folds_sha256 != now]
    return [Problem("model.other_folds", str(folder), expected, found, fix) for folder in others]


def _described(spec: ModelSpec, size: int) -> dict[str, Any]:
    """A network by the keys of params.yaml, as JSON keeps their values."""
    keys: dict[str, Any] = {"model.arch": spec.arch, "model.encoder": spec.encoder, "model.in_channels": spec.in_channels}
    keys |= {"model.options": dict(spec.options), "train.size": size, "data.exclusive": spec.exclusive}
    found: dict[str, Any] = json.loads(json.dumps(keys))
    return found
