"""The paths that stages read and write, relative to the repository's root. Only stages and commands import this module.

Each path is written here and in dvc.yaml; a test checks that they agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from handbone.config.params import CURRENT
from handbone.utils.errors import Problem, UserError

PHANTOM = Path("data/phantom")

CACHE = Path("data/cache")
# two folders, so that other test images do not retrain
TRAIN_INDEX, TEST_INDEX = CACHE / "train/index.csv", CACHE / "test/index.csv"
AREAS = CACHE / "train/areas.csv"
DATA_REPORT = Path("reports/data.json")

FOLDS = Path("data/folds.csv")
DESCRIBED = FOLDS, TRAIN_INDEX, TEST_INDEX  # the tables of people and images
SPLIT_REPORT = Path("reports/split.json")

PSEUDO = Path("data/pseudo")
PSEUDO_INDEX = PSEUDO / "index.csv"
PSEUDO_SOURCES = Path("pseudo")

MODELS = Path("models")
CURVES = Path("reports/train")

PREDICTIONS = Path("data/predictions")
MEMBERS = Path("data/members")  # the predictions of pinned experiments
PINS = Path("members")

DECISION = Path("reports/decision.json")
VALIDATION_COUNTS = Path("reports/validation_counts.csv")
DECIDED_WITH = VALIDATION_COUNTS, TRAIN_INDEX  # the tables with which the decision was made
DICE_PER_CLASS = Path("reports/dice_per_class.csv")

TEST_COUNTS = Path("reports/test_counts.csv")
TEST_DICE_PER_CLASS = Path("reports/test_dice_per_class.csv")
DICE_PER_ATTRIBUTE = Path("reports/dice_per_attribute.csv")
METRICS = Path("reports/metrics.json")
SUBMISSION = Path("submissions/submission.csv")
LINEAGE = Path("submissions/submission.json")

PAGE = Path("reports/index.html")

WEIGHTS = Path("weights")


def fold_model(fold: int) -> Path:
    """The folder of one fold's weights and model.json."""
    return MODELS / f"fold_{fold}"


def fold_curve(fold: int) -> Path:
    """One fold's training curve (epoch, lr, loss, dice)."""
    return CURVES / f"fold_{fold}.csv"


def cached_sample(subset: str, key: str) -> Path:
    """The npz of a sample. subset: `train` or `test`; key: e.g. `ID001/image1661130828152_R`."""
    return _inside(CACHE / subset, f"{key}.npz")


def pseudo_sample(key: str) -> Path:
    """The npz of a test image with its pseudo-labels."""
    return _inside(PSEUDO, f"{key}.npz")


def prediction(subset: str, key: str, member: str = CURRENT) -> Path:
    """The npz of a sample's probabilities. subset: `oof` (training images, by the model not trained on their person) or `test`."""
    return _inside(predictions(subset, member), f"{key}.npz")


def prediction_record(subset: str, member: str = CURRENT) -> Path:
    """The JSON that names the models behind the probabilities of `oof` or `test`."""
    return predictions(subset, member) / "models.json"


def stored(subset: str, keys: Iterable[str], member: str) -> tuple[Path, dict[str, Path]]:
    """The record of a member's predictions, and the npz of each sample by key."""
    return prediction_record(subset, member), {key: prediction(subset, key, member) for key in keys}


def predictions(subset: str, member: str = CURRENT) -> Path:
    """The folder of a subset's probabilities: those of the graph, or of a member that `pin(member)` pins."""
    return (PREDICTIONS if member == CURRENT else MEMBERS / member) / subset


def pin(member: str) -> Path:
    """The file of DVC that pins the predictions of an experiment under a name."""
    return PINS / f"{member}.dvc"


def init_weights(weights: str | None) -> Path:
    """The file or folder that `model.weights` names.

    `weights/None` and `weights/imagenet` are placeholder files: the stage train always depends on `weights/${model.weights}`, and DVC
    writes null as None.
    """
    return WEIGHTS / str(weights)


def _inside(folder: Path, name: str) -> Path:
    """`folder / name`. Raises `UserError` for a name that leaves the folder: keys come from tables, which people can edit."""
    if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        fix = "correct the table that names it, or run dvc repro, which writes the table again"
        raise UserError(Problem("paths.key", f"{folder}/", "the path of a sample inside the folder", ascii(name), fix))
    return folder / name
