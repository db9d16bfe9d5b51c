"""Histograms of joined probabilities inside and outside of the truth: the counts at every threshold from one pass over the pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.joined import Grid, blend_row, check_weights, class_sums, full_rows, layers_of, sizes_of
from handbone.masks.kernels import kernel
from handbone.masks.runs import Intervals, RunLengthMasks

Ints = NDArray[np.int64]
HALF_STEPS = 510  # of probability 1: thresholds are multiples of 1 / HALF_STEPS


def histograms(members: Sequence[CroppedMaps], weights: Ints, truth: RunLengthMasks) -> Ints:
    """M members with C maps each, joined as by `joined_masks`, and C true masks -> (C, 2, 511) pixels outside and inside of the truth.

    A pixel is in bin b if its probability is above (b - 1) / 510, and not above b / 510; in bin 0 if it is 0.
    Raises ValueError for weights that `joined_masks` refuses.
    """
    check_weights(members, weights, truth.shape)
    grid, pixels = Grid.of(sizes_of(members), truth.shape), np.zeros(truth.shape[1], np.int64)
    units = (2 * truth.shape[0] * truth.shape[1] * weights.sum(0)).tolist()
    bins = np.zeros((len(units), 2, HALF_STEPS + 1), np.int64)
    for index, (boxes, values) in enumerate(class_sums(members, weights)):
        of_class = truth.intervals[truth.indptr[index] : truth.indptr[index + 1]]
        _count(boxes, values, grid, units[index], of_class, pixels, bins[index])
    inside = truth.areas()
    bins[:, 0, 0] = truth.shape[0] * truth.shape[1] - inside - bins[:, 0, 1:].sum(1)  # the pixels that were not visited are 0
    bins[:, 1, 0] = inside - bins[:, 1, 1:].sum(1)
    return bins


def counts_at(bins: Ints) -> Ints:
    """(..., 2, 511) histograms -> (..., 510, 3) true positive, false positive, false negative at the thresholds k / 510, k from 0 on."""
    above = np.cumsum(bins[..., :0:-1], -1)[..., ::-1]  # (..., 2, 510) pixels in bins k + 1 and higher
    return np.stack([above[..., 1, :], above[..., 0, :], bins[..., 1, :].sum(-1)[..., None] - above[..., 1, :]], -1)


@kernel
def _count(boxes: Ints, values: Ints, grid: Grid, unit: int, truth: Intervals, pixels: Ints, bins: Ints) -> None:
    """Add up the pixels of one class in (2, 511) `bins`; unit: of half a step; truth: (R, 2); pixels: room for a row."""
    width, run = len(pixels), 0
    layers = layers_of(boxes, values, grid)
    top, bottom = full_rows(boxes, grid)
    for row in range(top, bottom):
        left, right = blend_row(layers, grid, row, pixels)
        begin, column = row * width, left
        while column < right:
            while run < len(truth) and truth[run, 1] <= begin + column:
                run += 1
            start, end = (truth[run, 0] - begin, truth[run, 1] - begin) if run < len(truth) else (right, right)
            inside = start <= column
            stop = min(right, end if inside else start)
            _add(pixels[column:stop], unit, bins[int(inside)])
            column = stop


@kernel
def _add(sums: Ints, unit: int, bins: Ints) -> None:
    """Count each sum in the bin of its number of units, rounded up."""
    inverse = 1 / unit
    for value in sums:
        number = int(value * inverse)  # the float may be a little too small or too large at a multiple of the unit
        while number * unit < value:
            number += 1
        while number > 0 and (number - 1) * unit >= value:
            number -= 1
        bins[number] += 1
