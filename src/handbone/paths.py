"""Where each stage's outs lie, relative to the repository's root.

Each path is written here and in dvc.yaml; a test holds the two together.
"""

from __future__ import annotations

from pathlib import Path

PHANTOM = Path("data/phantom")

CACHE = Path("data/cache")
TRAIN_INDEX, TEST_INDEX = CACHE / "train" / "index.csv", CACHE / "test" / "index.csv"  # apart: other test images train nothing anew
AREAS = CACHE / "train" / "areas.csv"
DATA_REPORT = Path("reports/data.json")

FOLDS = Path("data/folds.csv")
SPLIT_REPORT = Path("reports/split.json")

PSEUDO = Path("data/pseudo")
PSEUDO_INDEX = PSEUDO / "index.csv"
PSEUDO_SOURCES = Path("pseudo")

MODELS = Path("models")
CURVES = Path("reports/train")

OOF = Path("data/oof")
VALIDATION_COUNTS = Path("reports/validation_counts.csv")
DICE_PER_CLASS = Path("reports/dice_per_class.csv")

TEST_PROBABILITIES = Path("data/test_probabilities")
TEST_COUNTS = Path("reports/test_counts.csv")
METRICS = Path("reports/metrics.json")
SUBMISSION = Path("submissions/submission.csv")
LINEAGE = Path("submissions/submission.json")

PAGE = Path("reports/index.html")

WEIGHTS = Path("weights")


def fold_model(fold: int) -> Path:
    """The folder of one fold's weights and settings."""
    return MODELS / f"fold_{fold}"


def fold_curve(fold: int) -> Path:
    """One fold's training curve (epoch, lr, loss, dice)."""
    return CURVES / f"fold_{fold}.csv"


def cached_sample(subset: str, key: str) -> Path:
    """The npz of a sample: `train` or `test`, and a key such as `ID001/image1661130828152_R`."""
    return CACHE / subset / f"{key}.npz"


def pseudo_sample(key: str) -> Path:
    """The npz of a test image with its pseudo-labels."""
    return PSEUDO / f"{key}.npz"


def probabilities(folder: Path, key: str) -> Path:
    """The npz of a sample's predicted probabilities below `OOF` or `TEST_PROBABILITIES`."""
    return folder / f"{key}.npz"


def pretrained(weights: str) -> Path:
    """The file or folder that `model.weights` names; `none` and `imagenet` are notes, so that a stage can depend on it whatever it is."""
    return WEIGHTS / weights
