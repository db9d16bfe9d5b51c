"""The weights that a training starts from: random, pretrained, or those of an earlier experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from handbone.config.params import Params
from handbone.models.class_order import reorder_classes
from handbone.models.contract import check_contract
from handbone.models.pretrained import IMAGENET, load_into, read_weights
from handbone.models.registry import build_model, spec_from_params
from handbone.models.saved import INFO, WEIGHTS, TrainedModelInfo, read_info, read_model_weights
from handbone.models.spec import ModelSpec
from handbone.models.wrapper import SegmentationModel
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.hashing import file_hash


@dataclass(frozen=True)
class InitWeights:
    """The initial weights of one fold.

    file: that `model.weights` stands for; null for null and imagenet, which are in no file. of_experiment: whether the file has the whole
    network, trained by an earlier experiment.
    """

    file: Path | None
    of_experiment: bool

    @property
    def sha256(self) -> str | None:
        """The hash of the file; null if there is none."""
        return None if self.file is None else file_hash(self.file)


def resolve_init_weights(params: Params, fold: int, source: Path, fold_name: str, folds: Path) -> InitWeights:
    """The initial weights of one fold.

    source: the file or folder that `model.weights` names. A folder is `models/` of an earlier experiment, where this fold's model is the
    folder `fold_name`. folds: the table of folds.
    Raises `UserError` if there are no such weights, and if the experiment had other folds, so that it may have trained on people who are
    held out now, another network, or other classes than params.yaml; the same classes in another order are no fault.
    """
    if params.model.weights in (None, IMAGENET):  # DVC alone needs a file of this name
        return InitWeights(None, of_experiment=False)
    if not source.exists():
        expected, fix = "the file or folder that model.weights names", "put it there, or set model.weights to another one"
        raise UserError(Problem("weights.missing", str(source), expected, "none", fix))
    if not source.is_dir():
        return InitWeights(source, of_experiment=False)
    folder = source / fold_name
    spec = spec_from_params(params.model, params.data.classes, params.data.exclusive)
    problems = _experiment_problems(folder, read_info(folder), folds, fold, spec)
    raise_if_any(problems, "the initial weights cannot be used")
    return InitWeights(folder / WEIGHTS, of_experiment=True)


def _experiment_problems(folder: Path, info: TrainedModelInfo, folds: Path, fold: int, spec: ModelSpec) -> list[Problem]:
    problems = []
    if info.folds_sha256 != file_hash(folds):
        expected = f"weights that were trained on the folds of {folds}"
        found = "other folds, so that people who are held out now may have been trained on"
        fix = "set split as it was then, or start from other weights"
        problems.append(Problem("weights.other_folds", str(folder), expected, found, fix))
    if info.fold != fold:
        expected, found = f"the model of fold {fold}", f"that of fold {info.fold}, which was trained on people who are held out now"
        problems.append(Problem("weights.fold", str(folder), expected, found, "name the folder with this fold's own model"))
    if (info.spec.arch, info.spec.encoder) != (spec.arch, spec.encoder):
        fix = "set model.arch and model.encoder to those of the weights, or start from other weights"
        problems.append(Problem("weights.mismatch", str(folder), f"weights of {_network(spec)}", f"those of {_network(info.spec)}", fix))
    if difference := _class_difference(info.spec.classes, spec.classes):
        expected = "the classes of params.yaml: data.classes, in any order"
        fix = "set data.classes to those of the weights, or start from other weights"
        problems.append(Problem("weights.classes", str(folder), expected, difference, fix))
    return problems


def _network(spec: ModelSpec) -> str:
    return f"{spec.arch} with encoder {spec.encoder}" if spec.encoder else spec.arch


def _class_difference(found: Sequence[str], expected: Sequence[str]) -> str:
    """What differs between two sets of classes; empty if nothing does."""
    missing, unknown = [name for name in expected if name not in found], [name for name in found if name not in expected]
    return ", ".join([*(f"no {name}" for name in missing), *(f"{name} in addition" for name in unknown)])


def make_model(params: Params, weights: InitWeights) -> SegmentationModel:
    """The network of `model.*` with its initial weights, which keeps the contract of networks for the images of the training.

    Raises `UserError` for weights that do not fit the network (`weights.*`), and for a network that breaks the contract (`model.*`).
    """
    spec, name = spec_from_params(params.model, params.data.classes, params.data.exclusive), params.model.weights
    if weights.of_experiment and weights.file is not None:
        model = build_model(spec)
        load_into(model, _of_experiment(weights.file, spec), str(weights.file))
    else:
        model = build_model(spec, name if weights.file is None else str(weights.file))
    check_contract(model, spec, params.train.crop or params.train.size)
    return model


def _of_experiment(file: Path, spec: ModelSpec) -> dict[str, Tensor]:
    """The weights of a trained model, with its classes in the order of `spec`. Raises `UserError` if they cannot be reordered."""
    if not (file.parent / INFO).is_file():
        return read_weights(file)
    info = read_info(file.parent)
    state = read_model_weights(file.parent, info)
    if list(info.spec.classes) == list(spec.classes):
        return state
    reordered = reorder_classes(state, info.spec, spec.classes)
    if reordered is None:
        expected = "the classes in the order of params.yaml: data.classes"
        found = f"{', '.join(info.spec.classes)}, which {info.spec.arch} gives no safe way to reorder"
        fix = "set data.classes to the order of the weights, or start from other weights"
        raise UserError(Problem("weights.classes", str(file), expected, found, fix))
    return reordered
