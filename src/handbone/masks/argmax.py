"""The most probable class of each pixel at full resolution, exact in whole numbers: the masks of classes that exclude each other.

As in `masks/joined.py`, every member upsampled to (H, W) is an integer, and so is the weighted sum of members: classes are compared without
any rounding. Where several have the same sum, the first of them in the order of the classes is taken, as by NumPy's argmax.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.joined import Grid, Ints, Layers, blend_row, check_weights, class_sums, full_rows, layers_of, sizes_of
from handbone.masks.kernels import kernel
from handbone.masks.runs import Intervals, RunLengthMasks, push_pixel, with_growing_buffer

STRIP = 64  # rows whose best sums are kept at a time: eight bytes for each of their pixels


def argmax_masks(members: Sequence[CroppedMaps], weights: Ints, shape: tuple[int, int]) -> RunLengthMasks:
    """M members with C maps each -> C masks at `shape` (H, W), to exactly one of which each pixel belongs.

    weights: (M, C) int64 as of `joined_masks`, the same for all classes. Raises ValueError for other weights.
    """
    check_weights(members, weights, shape)
    if (weights != weights[:, :1]).any():
        raise ValueError("weights that differ between classes, whose sums are then no probabilities to compare")
    labels = _labels(members, weights, shape)
    return RunLengthMasks(shape, *with_growing_buffer(lambda intervals: _label_runs(labels, weights.shape[1], intervals)))


def _labels(members: Sequence[CroppedMaps], weights: Ints, shape: tuple[int, int]) -> NDArray[np.int32]:
    """-> (H, W) the class of each pixel."""
    grid = Grid.of(sizes_of(members), shape)
    layers = [layers_of(boxes, values, grid) for boxes, values in class_sums(members, weights)]
    rows = [full_rows(one.boxes, grid) for one in layers]
    labels, line = np.zeros(shape, np.int32), np.zeros(shape[1], np.int64)
    for top in range(0, shape[0], STRIP):
        strip = labels[top : top + STRIP]
        best = np.zeros(strip.shape, np.int64)
        for number, (layer, (first, end)) in enumerate(zip(layers, rows, strict=True)):
            _take_greater(layer, grid, top, max(first, top), min(end, top + len(strip)), number, line, best, strip)
    return labels


@kernel
def _take_greater(
    layers: Layers, grid: Grid, top: int, first: int, end: int, number: int, line: Ints, best: Ints, labels: NDArray[np.int32]
) -> None:
    """Write the class `number` into `labels` where its sum is above `best`, in the rows from `first` to `end`; both begin at row `top`."""
    for row in range(first, end):
        left, right = blend_row(layers, grid, row, line)
        for column in range(left, right):
            if line[column] > best[row - top, column]:
                best[row - top, column] = line[column]
                labels[row - top, column] = number


@kernel
def _label_runs(labels: NDArray[np.int32], classes: int, intervals: Intervals) -> tuple[Ints, int]:
    """-> indptr and the number of intervals."""
    indptr = np.zeros(classes + 1, np.int64)
    flat = labels.ravel()
    count = 0
    for number in range(classes):
        run_start = -1
        for pixel in range(len(flat)):
            inside = flat[pixel] == number
            if inside != (run_start >= 0):
                run_start, count = push_pixel(inside, run_start, pixel, indptr[number], intervals, count)
        _, count = push_pixel(False, run_start, len(flat), indptr[number], intervals, count)
        indptr[number + 1] = count
    return indptr, count
