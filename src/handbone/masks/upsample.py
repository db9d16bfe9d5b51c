"""Probabilities at the network's resolution -> masks at full resolution as runs, without a dense map or mask of either.

Upsampling is bilinear and centre-aligned, as torch's interpolate(align_corners=False), in integers: the place of a full-resolution pixel
between two low-resolution rows is a multiple of 1 / (2·H), so its probability is an integer in units of 1 / (4·H·W) of a step of uint8, and
is compared with the threshold without any rounding.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.kernels import kernel
from handbone.masks.runs import Intervals, RunLengthMasks, push_pixel, with_growing_buffer

Ints = NDArray[np.int64]


def full_masks(probabilities: CroppedMaps, shape: tuple[int, int], threshold: float | NDArray[np.float64]) -> RunLengthMasks:
    """C maps at (h, w) -> C masks at `shape` (H, W), smaller or larger: the pixels whose resampled probability is above `threshold` (0..1).

    threshold: one, or one per class (C,); a multiple of 1/510, the nearest float to which it is, is meant exactly.
    """
    (small_h, small_w), (full_h, full_w) = probabilities.shape, shape
    # for a source pixel, for two of one column blended, for four blended: each in its units, where above the level is above its floor
    units = (255, 255 * 2 * full_h, 255 * 4 * full_h * full_w)
    thresholds = np.broadcast_to(np.asarray(threshold, np.float64), len(probabilities.boxes))
    levels = np.array([[level_of(one, unit) for unit in units] for one in thresholds.tolist()], np.int64).reshape(-1, 3)
    axes = pixel_axis(small_h, full_h), pixel_axis(small_w, full_w)
    boxes = probabilities.boxes.astype(np.int64)
    values = probabilities.values
    return RunLengthMasks(shape, *with_growing_buffer(lambda intervals: _upsampled_runs(boxes, values, *axes, levels, intervals)))


def level_of(threshold: float, units: int) -> int:
    """The largest whole number not above `threshold` * `units`, exactly; units: of probability 1.

    A float is the nearest one to at most one multiple of 1/510, and then that multiple is meant.
    """
    half_steps = round(threshold * 510)
    numerator, denominator = (half_steps, 510) if threshold == half_steps / 510 else threshold.as_integer_ratio()
    return numerator * units // denominator


@lru_cache
def pixel_axis(small: int, full: int) -> tuple[Ints, Ints, Ints]:
    """Along one axis, where each of `full` pixels blends two neighbours of `small` sources -> first, weights, starts.

    first: (full,) the first of the two; weights: (full,) of the second one, in units of 1 / (2·full);
    starts: (small + 1,) the first pixel whose first source is this one or a later one.
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
    levels: Ints,
    intervals: Intervals,
) -> tuple[Ints, int]:
    """-> indptr and the number of intervals; levels: (C, 3)."""
    indptr = np.zeros(len(boxes) + 1, np.int64)
    cells = np.empty((len(columns[2]) + 1, 2), np.int64)
    count, position = 0, 0
    for index in range(len(boxes)):
        y0, x0, y1, x1 = boxes[index]
        crop = values[position : position + (y1 - y0) * (x1 - x0)].reshape((y1 - y0, x1 - x0))
        position += crop.size
        of_class = levels[index, 0], levels[index, 1], levels[index, 2]
        count = class_runs(crop, y0, x0, rows, columns, of_class, cells, intervals, count)
        indptr[index + 1] = count
    return indptr, count


@kernel
def class_runs(
    crop: NDArray[np.uint8] | Ints,
    y0: int,
    x0: int,
    rows: tuple[Ints, Ints, Ints],
    columns: tuple[Ints, Ints, Ints],
    levels: tuple[int, int, int],
    cells: Ints,
    intervals: Intervals,
    count: int,
) -> int:
    """Append the runs of one class, whose map is `crop` at (y0, x0) and 0 around it -> the new count.

    levels: above which a source pixel, two of one column blended, and four blended are inside; cells: room for one per column and one more.
    """
    first = count
    upper = np.zeros(crop.shape[1] + 2, np.int64)  # two low-resolution rows, with a 0 on either side of the crop
    lower = np.zeros(crop.shape[1] + 2, np.int64)
    for source in range(max(y0 - 1, 0), y0 + crop.shape[0]):  # the pixels between this low-resolution row and the next
        _read_row(crop, source - y0, upper)
        _read_row(crop, source - y0 + 1, lower)
        crossed = _crossed_cells(upper, lower, max(x0 - 1, 0) - x0 + 1, levels[0], cells)
        if crossed:
            between = rows[2][source], rows[2][source + 1]
            used = cells[:crossed]
            count = _row_runs(upper, lower, used, x0 - 1, between, rows[1], columns[1], columns[2], levels, first, intervals, count)
    return count


@kernel
def _read_row(crop: NDArray[np.uint8] | Ints, row: int, values: Ints) -> None:
    """Copy a row of the crop, or 0 if it has no such row, into `values` between the first and the last."""
    if 0 <= row < len(crop):
        values[1:-1] = crop[row]
    else:
        values[:] = 0


@kernel
def _crossed_cells(upper: Ints, lower: Ints, start: int, level: int, cells: Ints) -> int:
    """Find where a run can begin or end: the cells (between two rows and two columns) whose four corners are not all on one side of the
    level, and the cell after each of those -> their number; cells: (M, 2), the column and the number of corners above the level.
    """
    count = 0
    left = int(upper[start] > level) + int(lower[start] > level)
    last = start - 1 if left else -2  # the last crossed cell: at the image's border a run may begin in the first cell
    for column in range(start, len(upper) - 1):
        right = int(upper[column + 1] > level) + int(lower[column + 1] > level)
        above = left + right
        if 0 < above < 4 or last == column - 1:
            cells[count, 0] = column
            cells[count, 1] = above
            count += 1
        if 0 < above < 4:
            last = column
        left = right
    return count


@kernel
def _row_runs(
    upper: Ints,
    lower: Ints,
    cells: Ints,
    offset: int,
    rows: tuple[int, int],
    below: Ints,
    behind: Ints,
    starts: Ints,
    levels: tuple[int, int, int],
    first: int,
    intervals: Intervals,
    count: int,
) -> int:
    """Append the runs of the full-resolution rows between two low-resolution ones, -> the new count.

    Their first and last values are not above the level.
    offset: column of their first value; below, behind: weights of the lower row, and of the right column; starts: as in `pixel_axis`.
    """
    width, down, across = len(behind), 2 * len(below), 2 * len(behind)
    last = starts[min(offset + len(upper) - 1, len(starts) - 1)]
    for row in range(rows[0], rows[1]):
        weight, begin, run_start = below[row], row * width, -1
        for cell in range(len(cells)):
            column, above = cells[cell]
            pixel, end = starts[offset + column], starts[offset + column + 1]
            if above == 0 or above == 4:
                run_start, count = push_pixel(above == 4, run_start, begin + pixel, first, intervals, count)
                continue
            one = upper[column] * (down - weight) + lower[column] * weight
            other = upper[column + 1] * (down - weight) + lower[column + 1] * weight
            inside, turn = one > levels[1], end  # the first pixel on the other side of the threshold
            if inside != (other > levels[1]):
                turn = pixel
                while turn < end and (one * (across - behind[turn]) + other * behind[turn] > levels[2]) == inside:
                    turn += 1
            if turn > pixel:
                run_start, count = push_pixel(inside, run_start, begin + pixel, first, intervals, count)
            if turn < end:
                run_start, count = push_pixel(not inside, run_start, begin + turn, first, intervals, count)
        _, count = push_pixel(False, run_start, begin + last, first, intervals, count)
    return count
