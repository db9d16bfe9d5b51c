"""The probabilities of several members (networks, at any sizes) joined at full resolution: a weighted mean, exact in whole numbers.

Every member upsampled to (H, W) is an integer in units of 1 / (4·H·W) of a step of uint8, whatever its size (`masks/upsample.py`), so the
weighted sum of members is an integer too, and is compared with the threshold without any rounding. Upsampling is linear: members of one
size are summed before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.kernels import kernel
from handbone.masks.runs import Intervals, RunLengthMasks, push_pixel, with_growing_buffer
from handbone.masks.upsample import class_runs, level_of, pixel_axis

Ints = NDArray[np.int64]
Append = Callable[
    [Ints, Ints, tuple[int, int, int], Intervals, int], int
]  # the runs of one class's boxes and values above levels -> new count
LARGEST = 2**63 - 1  # of int64


class Grid(NamedTuple):
    """Where the pixels of maps at G sizes lie at full resolution (H, W).

    first, below: (G, H), for each full-resolution row the first of the two rows that it blends, and the weight of the second one;
    behind: (G, W) weights of the second column; starts: (G, largest w + 1) the first pixel that blends this column and the next.
    """

    first: Ints
    below: Ints
    behind: Ints
    starts: Ints

    @classmethod
    def of(cls, sizes: Sequence[tuple[int, int]], shape: tuple[int, int]) -> Grid:
        """G sizes (h, w) and the full one."""
        rows = [pixel_axis(height, shape[0]) for height, _ in sizes]
        columns = [pixel_axis(width, shape[1]) for _, width in sizes]
        longest = max(width for _, width in sizes) + 1
        starts = [np.pad(one, (0, longest - len(one)), constant_values=shape[1]) for _, _, one in columns]
        return cls(
            np.stack([one[0] for one in rows]), np.stack([one[1] for one in rows]), np.stack([one[1] for one in columns]), np.stack(starts)
        )


def joined_masks(members: Sequence[CroppedMaps], weights: Ints, shape: tuple[int, int], thresholds: NDArray[np.float64]) -> RunLengthMasks:
    """M members with C maps each -> C masks at `shape` (H, W): the pixels whose weighted mean probability is above the class's threshold.

    weights: (M, C) int64, 0 or more, not all 0 for any class; thresholds: (C,) as of `full_masks`.
    Raises ValueError for other weights, and for members with different numbers of classes.
    """
    check_weights(members, weights, shape)
    totals = zip(thresholds.tolist(), weights.sum(0).tolist(), strict=True)
    levels = [_levels(threshold, total, shape) for threshold, total in totals]
    append = _same_size(members[0].shape, shape) if len(sizes_of(members)) == 1 else _any_sizes(sizes_of(members), shape)

    def find(intervals: Intervals) -> tuple[Ints, int]:
        indptr = np.zeros(len(levels) + 1, np.int64)
        for index, (boxes, values) in enumerate(class_sums(members, weights)):
            indptr[index + 1] = append(boxes, values, levels[index], intervals, int(indptr[index]))
        return indptr, int(indptr[-1])

    return RunLengthMasks(shape, *with_growing_buffer(find))


def _levels(threshold: float, total: int, shape: tuple[int, int]) -> tuple[int, int, int]:
    """As of `class_runs`, for members whose weights sum up to `total`."""
    step = 255 * total
    return level_of(threshold, step), level_of(threshold, step * 2 * shape[0]), level_of(threshold, step * 4 * shape[0] * shape[1])


def check_weights(members: Sequence[CroppedMaps], weights: Ints, shape: tuple[int, int]) -> None:
    """A ValueError unless these are (M, C) weights with which members can be joined exactly in 64 bits."""
    classes = {len(member.boxes) for member in members}
    if weights.dtype != np.int64 or len(classes) != 1 or weights.shape != (len(members), *classes):
        raise ValueError(f"weights of {weights.dtype} {weights.shape} for {len(members)} members of {sorted(classes)} classes")
    if (weights < 0).any() or not weights.any(0).all():
        raise ValueError("weights below 0, or a class for which all are 0")
    if max(map(sum, weights.T.tolist()), default=0) * 255 * 4 * shape[0] * shape[1] > LARGEST:
        raise ValueError(f"weights whose sum at {shape[0]} x {shape[1]} pixels does not fit into 64 bits")


def sizes_of(members: Sequence[CroppedMaps]) -> list[tuple[int, int]]:
    """-> the G different sizes (h, w), rising."""
    return sorted({member.shape for member in members})


def class_sums(members: Sequence[CroppedMaps], weights: Ints) -> Iterator[tuple[Ints, Ints]]:
    """M members and their (M, C) weights -> for each class (G, 4) boxes, and their contents one after the other.

    The contents are the weighted sum of the members of one size, before upsampling. One class exists at a time.
    """
    numbers = [[number for number, member in enumerate(members) if member.shape == size] for size in sizes_of(members)]
    boxes, crops = [member.boxes.tolist() for member in members], [member.crops() for member in members]
    for index, of_class in enumerate(weights.T.tolist()):
        sums = [_weighted_sum([(boxes[one][index], crops[one][index], of_class[one]) for one in of_size]) for of_size in numbers]
        yield np.array([box for box, _ in sums], np.int64), np.concatenate([total.ravel() for _, total in sums])


def _weighted_sum(parts: Sequence[tuple[list[int], NDArray[np.uint8], int]]) -> tuple[list[int], Ints]:
    """Boxes, their contents and weights -> the box around them, and the weighted sum in it."""
    seen = [part for part in parts if part[1].size and part[2]]
    if not seen:
        return [0, 0, 0, 0], np.zeros((0, 0), np.int64)
    tops, lefts, bottoms, rights = zip(*(box for box, _, _ in seen), strict=True)
    top, left, bottom, right = min(tops), min(lefts), max(bottoms), max(rights)
    total = np.zeros((bottom - top, right - left), np.int64)
    for (y0, x0, y1, x1), crop, weight in seen:
        total[y0 - top : y1 - top, x0 - left : x1 - left] += np.multiply(crop, weight, dtype=np.int64)
    return [top, left, bottom, right], total


def _same_size(size: tuple[int, int], shape: tuple[int, int]) -> Append:
    """Members of one size are upsampled as one map is."""
    rows, columns = pixel_axis(size[0], shape[0]), pixel_axis(size[1], shape[1])
    cells = np.empty((size[1] + 2, 2), np.int64)

    def append(boxes: Ints, values: Ints, levels: tuple[int, int, int], intervals: Intervals, count: int) -> int:
        y0, x0, y1, x1 = boxes[0].tolist()
        return class_runs(values.reshape(y1 - y0, x1 - x0), y0, x0, rows, columns, levels, cells, intervals, count)

    return append


def _any_sizes(sizes: Sequence[tuple[int, int]], shape: tuple[int, int]) -> Append:
    """Members of several sizes are added up in one full-resolution row at a time."""
    grid, row = Grid.of(sizes, shape), np.zeros(shape[1], np.int64)

    def append(boxes: Ints, values: Ints, levels: tuple[int, int, int], intervals: Intervals, count: int) -> int:
        return _runs_above(boxes, values, grid, levels[-1], row, intervals, count)

    return append


@kernel
def _runs_above(boxes: Ints, values: Ints, grid: Grid, level: int, pixels: Ints, intervals: Intervals, count: int) -> int:
    """Append the runs of one class -> the new count; pixels: room for a row."""
    first, width = count, len(pixels)
    top, bottom = full_rows(boxes, grid)
    for row in range(top, bottom):
        left, right = blend_row(boxes, values, grid, row, pixels)
        begin, run_start = row * width, -1
        for column in range(left, right):
            inside = pixels[column] > level
            if inside != (run_start >= 0):
                run_start, count = push_pixel(inside, run_start, begin + column, first, intervals, count)
        _, count = push_pixel(False, run_start, begin + right, first, intervals, count)
    return count


@kernel
def full_rows(boxes: Ints, grid: Grid) -> tuple[int, int]:
    """The full-resolution rows that blend a row of the (G, 4) boxes -> the first, and the one after the last; 0, 0 if there are none."""
    top, bottom = grid.first.shape[1], 0
    for layer in range(len(boxes)):
        if boxes[layer, 2] > boxes[layer, 0]:
            top = min(top, np.searchsorted(grid.first[layer], boxes[layer, 0] - 1))
            bottom = max(bottom, np.searchsorted(grid.first[layer], boxes[layer, 2]))
    return min(top, bottom), bottom


@kernel
def blend_row(boxes: Ints, values: Ints, grid: Grid, row: int, pixels: Ints) -> tuple[int, int]:
    """Write a full-resolution row of the sum of all layers into pixels[left:right] -> left, right; what is not written is 0.

    boxes: (G, 4); values: their contents one after the other.
    """
    left, right = len(pixels), 0
    at = 0
    lines = np.zeros((len(boxes), grid.starts.shape[1] + 2), np.int64)
    spans = np.zeros((len(boxes), 2), np.int64)
    for layer in range(len(boxes)):
        y0, x0, y1, x1 = boxes[layer]
        crop = values[at : at + (y1 - y0) * (x1 - x0)].reshape((y1 - y0, x1 - x0))
        at += crop.size
        start, end = _blend_rows(crop, grid.first[layer, row] - y0, grid.below[layer, row], 2 * grid.first.shape[1], lines[layer])
        spans[layer, 0], spans[layer, 1] = max(x0 + start - 1, 0), x0 + end
        if start < end:
            left, right = min(left, grid.starts[layer, spans[layer, 0]]), max(right, grid.starts[layer, spans[layer, 1]])
    pixels[left:right] = 0
    for layer in range(len(boxes)):
        for column in range(spans[layer, 0], spans[layer, 1]):
            place = column - boxes[layer, 1] + 1
            one, slope = lines[layer, place] * 2 * len(pixels), lines[layer, place + 1] - lines[layer, place]
            for pixel in range(grid.starts[layer, column], grid.starts[layer, column + 1]):
                pixels[pixel] += one + slope * grid.behind[layer, pixel]
    return min(left, right), right


@kernel
def _blend_rows(crop: Ints, upper: int, weight: int, scale: int, line: Ints) -> tuple[int, int]:
    """Blend the rows `upper` and `upper` + 1 of the crop into line[1:-1] -> the crop's columns from the first to the last that is not 0.

    A row that the crop does not have is 0. weight: of the second row, of `scale`. line: all 0 before.
    """
    height, width = crop.shape
    start, end = width, 0
    for column in range(width):
        above = crop[upper, column] if 0 <= upper < height else 0
        beneath = crop[upper + 1, column] if 0 <= upper + 1 < height else 0
        line[column + 1] = above * (scale - weight) + beneath * weight
        if line[column + 1]:
            start, end = min(start, column), column + 1
    return start, end
