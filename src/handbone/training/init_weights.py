"""The weights that a training starts from: random, pretrained, or those of an earlier experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handbone.config.params import Params
from handbone.models.pretrained import IMAGENET, load_into, read_weights
from handbone.models.registry import build_model, spec_from_params
from handbone.models.saved import WEIGHTS, TrainedModelInfo, read_info
from handbone.models.wrapper import SegmentationModel
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.hashing import file_hash


@dataclass(frozen=True)
class InitWeights:
    """file: that `model.weights` stands for; of_experiment: whether it has the whole network, trained by an earlier experiment."""

    file: Path
    of_experiment: bool


def resolve_init_weights(source: Path, fold_name: str, folds: Path, classes: Sequence[str]) -> InitWeights:
    """The initial weights of one fold.

    source: the file or folder that `model.weights` names. A folder is `models/` of an earlier experiment, where this fold's model is the
    folder `fold_name`. folds: the table of folds; classes: those of params.yaml.
    Raises `UserError` if there are no such weights, and if the experiment had other folds, so that it may have trained on people who are
    held out now, or other classes.
    """
    if not source.exists():
        expected, fix = "the file or folder that model.weights names", "put it there, or set model.weights to another one"
        raise UserError(Problem("weights.missing", str(source), expected, "none", fix))
    if not source.is_dir():
        return InitWeights(source, of_experiment=False)
    folder = source / fold_name
    _check_experiment(folder, read_info(folder), folds, classes)
    return InitWeights(folder / WEIGHTS, of_experiment=True)


def _check_experiment(folder: Path, info: TrainedModelInfo, folds: Path, classes: Sequence[str]) -> None:
    problems = []
    if info.folds_sha256 != file_hash(folds):
        expected = f"weights that were trained on the folds of {folds}"
        found = "other folds, so that people who are held out now may have been trained on"
        fix = "set split as it was then, or start from other weights"
        problems.append(Problem("weights.other_folds", str(folder), expected, found, fix))
    if difference := _class_difference(info.spec.classes, classes):
        expected = "the classes of params.yaml: data.classes, in the same order"
        fix = "set data.classes to those of the weights, or start from other weights"
        problems.append(Problem("weights.classes", str(folder), expected, difference, fix))
    raise_if_any(problems, "the initial weights cannot be used")


def _class_difference(found: Sequence[str], expected: Sequence[str]) -> str:
    """What differs between two lists of classes; empty if nothing does."""
    missing, unknown = [name for name in expected if name not in found], [name for name in found if name not in expected]
    if missing or unknown:
        return ", ".join([*(f"no {name}" for name in missing), *(f"{name} in addition" for name in unknown)])
    return "" if list(found) == list(expected) else f"the same classes in another order: {', '.join(found)}"


def make_model(params: Params, weights: InitWeights) -> SegmentationModel:
    """The network of `model.*` with its initial weights. Raises `UserError` if they do not fit the network."""
    spec, name = spec_from_params(params.model, params.data.classes), params.model.weights
    if not weights.of_experiment:
        return build_model(spec, name if name in (None, IMAGENET) else str(weights.file))
    model = build_model(spec)
    load_into(model, read_weights(weights.file), str(weights.file))
    return model
