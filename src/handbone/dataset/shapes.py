"""Poses, found from the places of the masks alone: a bent wrist moves the same classes in the same direction in every image.

The centres of the classes are landmarks. Generalised Procrustes analysis (Gower, 1975, doi:10.1007/BF02291478) removes position, size,
rotation and mirroring; the first principal component of what is left is the way in which images differ most (Cootes et al., 1995, "Active
shape models"). Its scores are cut into three groups that vary least in themselves (k-means, exact in one dimension).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from handbone.utils.errors import Problem, UserError

Floats = NDArray[np.float64]

SHAPE = "shape"  # the name of the attribute
GROUPS = ("low", "middle", "high")
MIN_SHARE = 0.95  # of images that show a landmark; the others are of no group
MIN_LANDMARKS = 3  # two points differ in position, size and rotation only
ROUNDS = 10  # of aligning all images to their mean: the mean is at rest after three or four


@dataclass(frozen=True)
class ShapeGroups:
    """What the training images say about poses.

    landmarks: the L classes whose centres are compared. mean, component: (L, 2) mean shape, and how the first component moves it.
    cuts: (2,) scores between two groups.
    """

    landmarks: list[str]
    mean: Floats
    component: Floats
    cuts: Floats

    @classmethod
    def fit(cls, places: pd.DataFrame, index: pd.DataFrame) -> ShapeGroups:
        """Rows of key, class, pixels, x, y (areas.csv) and an index with height and width -> the groups of these images.

        Raises `UserError` if fewer than three classes are in nearly all images, or fewer than three images show them.
        """
        shown = places[places["pixels"] > 0].groupby("class", sort=False).size()
        landmarks = [str(name) for name in shown.index[shown >= MIN_SHARE * len(index)]]
        _, shapes = _shapes(places, index, landmarks)
        if len(landmarks) < MIN_LANDMARKS or len(shapes) < len(GROUPS):
            expected = f"{MIN_LANDMARKS} classes or more in at least {MIN_SHARE:.0%} of {len(GROUPS)} images or more"
            found = f"{len(landmarks)} such classes, and {len(shapes)} images that show them all"
            raise UserError(Problem("split.shape", f"params.yaml: split.stratify: {SHAPE}", expected, found, f"remove {SHAPE}"))
        mean = shapes[0]
        for _ in range(ROUNDS):
            mean = _aligned(shapes, mean).mean(0)
            mean /= np.linalg.norm(mean)
        residuals = (_aligned(shapes, mean) - mean).reshape(len(shapes), -1)
        direction = np.linalg.svd(residuals - residuals.mean(0), full_matrices=False)[2][0]
        direction *= np.sign(direction[np.abs(direction).argmax()])  # either sign is a component
        return cls(landmarks, mean, direction.reshape(mean.shape), best_cuts(residuals @ direction))

    def of(self, places: pd.DataFrame, index: pd.DataFrame) -> pd.Series:
        """The group of each image of the index by key; empty for one that lacks a landmark. The tables are as in `fit`."""
        keys, shapes = _shapes(places, index, self.landmarks)
        scores = ((_aligned(shapes, self.mean) - self.mean) * self.component).sum((1, 2))
        groups = np.array(GROUPS)[np.searchsorted(self.cuts, scores)]
        return pd.Series(groups, keys, dtype=str, name=SHAPE).reindex(index["key"], fill_value="")


def _shapes(places: pd.DataFrame, index: pd.DataFrame, landmarks: list[str]) -> tuple[list[str], Floats]:
    """The keys of the N images that show all L landmarks, and (N, L, 2) their centres around 0, of size 1."""
    sizes = index.set_index("key")
    shown = places[places["pixels"] > 0]
    by_axis = [
        shown.pivot(index="key", columns="class", values=axis).reindex(index=sizes.index, columns=landmarks).mul(sizes[side], axis=0)
        for axis, side in (("x", "width"), ("y", "height"))  # of shares: in an image that is not square they are no lengths
    ]
    points = np.stack([table.to_numpy(np.float64) for table in by_axis], 2)
    whole = ~np.isnan(points).any((1, 2))
    centred = points[whole] - points[whole].mean(1, keepdims=True)
    norms = np.linalg.norm(centred, axis=(1, 2), keepdims=True)
    return list(sizes.index[whole]), centred / np.where(norms > 0, norms, 1)


def _aligned(shapes: Floats, mean: Floats) -> Floats:
    """(N, L, 2) shapes -> the same, each turned, and mirrored if that helps, to be nearest to the (L, 2) mean."""
    left, _, right = np.linalg.svd(shapes.transpose(0, 2, 1) @ mean)
    aligned: Floats = shapes @ (left @ right)
    return aligned


def best_cuts(scores: Floats) -> Floats:
    """(N,) scores -> (2,) cuts into three groups with the least sum of squares around their means; three scores or more."""
    ordered = np.sort(scores.round(9))  # the last digits of a score are not those of the images
    count, sums, squares = (np.concatenate([[0.0], np.cumsum(ordered**power)]) for power in range(3))

    def spread(start: int | NDArray[np.int64], end: int | NDArray[np.int64]) -> Floats:
        within: Floats = squares[end] - squares[start] - (sums[end] - sums[start]) ** 2 / (count[end] - count[start])
        return within

    last = len(ordered)
    best = (np.inf, 1, 2)
    for first in range(1, last - 1):
        seconds = np.arange(first + 1, last)
        costs = spread(0, first) + spread(first, seconds) + spread(seconds, last)
        place = int(costs.argmin())
        best = min(best, (float(costs[place]), first, int(seconds[place])))
    return np.array([(ordered[cut - 1] + ordered[cut]) / 2 for cut in best[1:]])
