"""Probabilities at the network's resolution -> masks at full resolution, straight to runs: no plane of either is ever unfolded.

Bilinear and centre-aligned, as torch's interpolate(align_corners=False), in whole numbers: a full-resolution pixel lies at a multiple
of 1 / (2·H) between two low-resolution rows, so its probability is a whole number of 1 / (4·H·W) of the steps of uint8, and is compared
with the threshold without any rounding.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handbone.compiled import kernel
from handbone.data.runs import Runs, Spans, collect, step
from handbone.inference.probabilities import Probabilities

Ints = NDArray[np.int64]


def full_masks(probabilities: Probabilities, shape: tuple[int, int], threshold: float) -> Runs:
    """C maps at (h, w) -> C masks at (H, W): where the upsampled probability is above `threshold` (0..1)."""
    (small_h, small_w), (full_h, full_w) = probabilities.shape, shape
    level = threshold * 255
    # of a source, of two rows blended, of two of those: each in steps of its own, and above the level means above its floor
    levels = (math.floor(level), math.floor(level * 2 * full_h), math.floor(level * 4 * full_h * full_w))
    axes = _axis(small_h, full_h), _axis(small_w, full_w)
    boxes = probabilities.boxes.astype(np.int64)
    return Runs(shape, *collect(lambda spans: _upsampled_runs(boxes, probabilities.values, *axes, levels, spans)))


@lru_cache
def _axis(small: int, full: int) -> tuple[Ints, Ints, Ints]:
    """Along one axis: the first source of each of `full` pixels and the weight of the one behind it, in steps of 1 / (2·full);
    and for each of `small` sources the first pixel that has it, or one behind it, as its first source (one entry more: `full`).
    """
    centres = np.clip((2 * np.arange(full) + 1) * small - full, 0, 2 * full * (small - 1))
    first = centres // (2 * full)
    return first, centres - first * 2 * full, np.searchsorted(first, np.arange(small + 1))


@kernel
def _upsampled_runs(
    boxes: Ints,
    values: NDArray[np.uint8],
    rows: tuple[Ints, Ints, Ints],
    columns: tuple[Ints, Ints, Ints],
    levels: tuple[int, int, int],
    spans: Spans,
) -> tuple[Ints, int]:
    splits = np.zeros(len(boxes) + 1, np.int64)
    blend = np.zeros(len(columns[2]) + 1, np.int64)
    count, position = 0, 0
    for index in range(len(boxes)):
        y0, x0, y1, x1 = boxes[index]
        crop = values[position : position + (y1 - y0) * (x1 - x0)].reshape((y1 - y0, x1 - x0))
        position += crop.size
        count = _class_runs(crop, y0, x0, rows, columns, levels, blend, spans, count)
        splits[index + 1] = count
    return splits, count


@kernel
def _class_runs(
    crop: NDArray[np.uint8],
    y0: int,
    x0: int,
    rows: tuple[Ints, Ints, Ints],
    columns: tuple[Ints, Ints, Ints],
    levels: tuple[int, int, int],
    blend: Ints,
    spans: Spans,
    count: int,
) -> int:
    """Append the runs of one class, whose map is `crop` at (y0, x0) and 0 around it."""
    first, unit = count, 2 * len(rows[0])
    above = _columns_above(crop, levels[0])
    for source in range(max(y0 - 1, 0), y0 + crop.shape[0]):  # the pixels between this low-resolution row and the next
        upper, lower = source - y0, source - y0 + 1
        left, right = _joined(above, upper, lower)
        if left == right:
            continue
        start, stop = max(x0 + left - 1, 0), x0 + right
        for row in range(rows[2][source], rows[2][source + 1]):
            blend[: stop - start + 1] = 0
            _add_row(crop, upper, unit - rows[1][row], start - x0, blend[: stop - start + 1])
            _add_row(crop, lower, rows[1][row], start - x0, blend[: stop - start + 1])
            count = _row_runs(blend, start, stop, columns, row, levels, first, spans, count)
    return count


@kernel
def _columns_above(crop: NDArray[np.uint8], level: int) -> Ints:
    """(rows, 2): the range of columns outside of which nothing in the row is above the level, end exclusive; 0, 0 where nothing is."""
    ranges = np.zeros((crop.shape[0], 2), np.int64)
    for row in range(crop.shape[0]):
        highest = np.uint8(0)
        for column in range(crop.shape[1]):  # no way out at the first hit, so that it runs many pixels at a time
            highest = max(highest, crop[row, column])
        if highest > level:
            left, right = 0, crop.shape[1]
            while crop[row, left] <= level:
                left += 1
            while crop[row, right - 1] <= level:
                right -= 1
            ranges[row, 0], ranges[row, 1] = left, right
    return ranges


@kernel
def _joined(above: Ints, upper: int, lower: int) -> tuple[int, int]:
    """The range that holds those of two rows, of which either may lie outside the crop."""
    left, right = 0, 0
    for row in (upper, lower):
        if 0 <= row < len(above) and above[row, 0] < above[row, 1]:
            left = above[row, 0] if left == right else min(left, above[row, 0])
            right = max(right, above[row, 1])
    return left, right


@kernel
def _add_row(crop: NDArray[np.uint8], row: int, weight: int, start: int, blend: Ints) -> None:
    """Add the crop's row, from its column `start` on, times its weight to `blend`; outside the crop there is nothing to add."""
    if 0 <= row < crop.shape[0]:
        for column in range(max(0, start), min(crop.shape[1], start + len(blend))):
            blend[column - start] += weight * crop[row, column]


@kernel
def _row_runs(
    blend: Ints,
    start: int,
    stop: int,
    columns: tuple[Ints, Ints, Ints],
    row: int,
    levels: tuple[int, int, int],
    first: int,
    spans: Spans,
    count: int,
) -> int:
    """Append the runs of one full-resolution row between the sources start:stop, with nothing above the level outside;
    blend: the values at those and at the one behind them.
    """
    width = len(columns[0])
    begun, pixel = -1, columns[2][start]
    for source in range(start, stop):
        one, other, end = blend[source - start], blend[source - start + 1], columns[2][source + 1]
        inside = one > levels[1]
        if inside == (other > levels[1]):  # then every pixel between the two is on the same side of the threshold
            begun, count = step(inside, begun, row * width + pixel, first, spans, count)
        else:
            for between in range(pixel, end):
                weight = columns[1][between]
                inside = one * (2 * width - weight) + other * weight > levels[2]
                begun, count = step(inside, begun, row * width + between, first, spans, count)
        pixel = end
    return step(False, begun, row * width + pixel, first, spans, count)[1]
