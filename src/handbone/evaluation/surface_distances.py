"""How far the outlines of prediction and truth are apart, per image and class, in pixels at full resolution."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from handbone.evaluation.dice import COUNTS, dice, iou
from handbone.masks.runs import RunLengthMasks
from handbone.masks.surfaces import squared_distances, surfaces

DISTANCES = ["hd95", "assd"]
SHARE = 0.95


def surface_distances(predicted: RunLengthMasks, truth: RunLengthMasks) -> NDArray[np.float64]:
    """C predicted and C true masks of one image -> (C, 2): HD95 and ASSD, in pixels; NaN where one of the two masks is empty.

    The surface of a mask is its pixels with one of the four neighbours outside of it. From each surface pixel of one mask, the distance is
    measured to the nearest surface pixel of the other. HD95 is the greater of the two 95th percentiles (prediction to truth, truth to
    prediction; between two distances linearly interpolated), ASSD the mean over the pixels of both surfaces. So do MONAI's
    `compute_hausdorff_distance(percentile=95)` and `compute_average_surface_distance(symmetric=True)`; MedPy takes one percentile of all
    distances of both directions.

    A. Taha, A. Hanbury, Metrics for evaluating 3D medical image segmentation, BMC Medical Imaging 15:29, 2015.
    L. Maier-Hein et al., Metrics reloaded, Nature Methods 21, 2024.
    """
    ends = surfaces(predicted), surfaces(truth)
    classes = zip(_of_classes(*ends), _of_classes(*ends[::-1]), strict=True)
    return np.array([(_hd95(*one), _assd(*one)) for one in classes]).reshape(-1, len(DISTANCES))


def _of_classes(surface: RunLengthMasks, other: RunLengthMasks) -> Iterator[NDArray[np.int64]]:
    """The squared distances from the surface pixels of each class; none where either surface is empty."""
    indptr, squared = squared_distances(surface, other)
    for first, end in pairwise(indptr.tolist()):
        yield squared[first:end]


def _hd95(there: NDArray[np.int64], back: NDArray[np.int64]) -> float:
    return max(_percentile(there), _percentile(back)) if len(there) else math.nan


def _assd(there: NDArray[np.int64], back: NDArray[np.int64]) -> float:
    return float(np.sqrt(there).sum() + np.sqrt(back).sum()) / (len(there) + len(back)) if len(there) else math.nan


def _percentile(squared: NDArray[np.int64]) -> float:
    """The 95th percentile of the distances, as `numpy.percentile` defines it but a tenth of its time, most of which is preparation."""
    place = SHARE * (len(squared) - 1)
    low, high = math.floor(place), math.ceil(place)
    ordered = np.partition(squared, [low, high])
    below, above = math.sqrt(ordered[low]), math.sqrt(ordered[high])
    return below + (place - low) * (above - below)


def scores_by_class(table: pd.DataFrame) -> pd.DataFrame:
    """Counts and distances of images -> by class, in the table's order: the means of dice, iou, hd95 and assd; and undefined, the number of
    images without distances, which their means leave out.
    """
    counts = table[COUNTS].to_numpy()
    scores = table[["class", *DISTANCES]].assign(dice=dice(counts), iou=iou(counts), undefined=table["hd95"].isna())
    means = {name: (name, "mean") for name in ("dice", "iou", *DISTANCES)}
    return scores.groupby("class", sort=False).agg(**means, undefined=("undefined", "sum"))


def mean_hd95(table: pd.DataFrame) -> float | None:
    """The mean over the classes of the mean HD95 over the images that have one; None if none has, or the table has no distances."""
    found = table.groupby("class", sort=False)["hd95"].mean().mean() if "hd95" in table else math.nan
    return None if math.isnan(found) else float(found)
