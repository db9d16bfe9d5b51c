"""Dice by the competition's formula, from counts: every score is computed from (tp, fp, fn) per image and class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from handbone.masks.runs import RunLengthMasks
from handbone.utils.csv_rows import REWRITE
from handbone.utils.errors import Problem, raise_if_any
from handbone.utils.io import read_class_table

EPS = 1e-4
COUNTS = ["tp", "fp", "fn"]
NESTED = [f"nested_{name}" for name in COUNTS]  # under a decision that the image's person had no part in


def count(predicted: RunLengthMasks, truth: RunLengthMasks, exclusive: bool = False) -> NDArray[np.int64]:
    """C predicted and C true masks of one image -> (C, 3) numbers of pixels: true positive, false positive, false negative.

    exclusive: the true masks do not overlap, and what is predicted where none of them is (void) is not counted.
    """
    both, areas = predicted.intersections(truth), predicted.pixels_inside(truth) if exclusive else predicted.areas()
    return np.stack([both, areas - both, truth.areas() - both], 1)


def dice(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(..., 3) counts -> (...) Dice: (2·tp + eps) / (|y| + |p| + eps). 1 if both masks are empty, about 0 if one is."""
    tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    ratio: NDArray[np.float64] = (2 * tp + EPS) / (2 * tp + fp + fn + EPS)
    return ratio


def iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(..., 3) counts -> (...) intersection over union: (tp + eps) / (tp + fp + fn + eps). 1 if both masks are empty, about 0 if one is."""
    tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    ratio: NDArray[np.float64] = (tp + EPS) / (tp + fp + fn + EPS)
    return ratio


def counts_table(key: str, classes: Sequence[str], counts: NDArray[np.int64]) -> pd.DataFrame:
    """(C, 3) counts of one image -> C rows of key, class, tp, fp, fn."""
    return pd.DataFrame({"key": key, "class": list(classes)} | {name: counts[:, column] for column, name in enumerate(COUNTS)})


def with_dice(table: pd.DataFrame) -> pd.DataFrame:
    """The table of counts with one more column, `dice`."""
    return table.assign(dice=dice(table[COUNTS].to_numpy()))


def per_class(table: pd.DataFrame) -> pd.Series:
    """A table of counts -> mean Dice over the images per class, in the table's order of classes."""
    return with_dice(table).groupby("class", sort=False)["dice"].mean()


def mean_dice(table: pd.DataFrame) -> float:
    """The competition's score: the mean over the classes of the mean over the images."""
    return float(per_class(table).mean())


def mean_iou(table: pd.DataFrame) -> float:
    """The mean over the classes of the mean IoU over the images, of a table of counts."""
    return float(table.assign(iou=iou(table[COUNTS].to_numpy())).groupby("class", sort=False)["iou"].mean().mean())


def pooled_iou(table: pd.DataFrame) -> pd.Series:
    """A table of counts -> IoU per class over all pixels of the set: tp / (tp + fp + fn) of the images' sums, as the field's mIoU takes.

    Classes without any pixel, true or predicted, are left out.
    """
    sums = table.groupby("class", sort=False)[COUNTS].sum()
    sums = sums[sums.any(axis=1)]
    return pd.Series(iou(sums.to_numpy()), sums.index, name="iou")


def mean_pooled_iou(table: pd.DataFrame) -> float:
    """The mean over the classes of their IoU over the whole set (mIoU)."""
    return float(pooled_iou(table).mean())


def is_nested(table: pd.DataFrame) -> bool:
    """Whether a table of counts has the columns `NESTED`, as it does if the decision was searched on these images."""
    return set(NESTED) <= set(table)


def nested_counts(table: pd.DataFrame) -> pd.DataFrame:
    """The table of counts with those of `NESTED` as tp, fp, fn; as it is without them."""
    return table.drop(columns=COUNTS).rename(columns=dict(zip(NESTED, COUNTS, strict=True))) if is_nested(table) else table


def read_counts(path: Path, keys: Sequence[str], classes: Sequence[str]) -> pd.DataFrame:
    """The table of counts that an earlier stage wrote. Raises `UserError` unless it has exactly one row for each key and class."""
    table = read_class_table(path, COUNTS, keys, classes)
    counts = COUNTS + NESTED * is_nested(table)
    negative = table.loc[(table[counts] < 0).any(axis=1), ["key", "class"]].itertuples(index=False, name=None)
    problems = [
        Problem("counts.negative", f"{path}: {key}, {label}", "numbers of pixels", "one below 0", REWRITE) for key, label in negative
    ]
    raise_if_any(problems, f"{path} cannot be used")
    return table
