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
        _add_weighted(crop, weight, total[y0 - top : y1 - top, x0 - left : x1 - left])
    return [top, left, bottom, right], total


@kernel
def _add_weighted(crop: NDArray[np.uint8], weight: int, total: Ints) -> None:
    for row in range(crop.shape[0]):
        for column in range(crop.shape[1]):
            total[row, column] += weight * np.int64(crop[row, column])


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
    layers = layers_of(boxes, values, grid)
    top, bottom = full_rows(boxes, grid)
    for row in range(top, bottom):
        left, right = blend_row(layers, grid, row, pixels)
        begin, run_start = row * width, -1
        for column in range(left, right):
            inside = pixels[column] > level
            if inside != (run_start >= 0):
                run_start, count = push_pixel(inside, run_start, begin + column, first, intervals, count)
        _, count = push_pixel(False, run_start, begin + right, first, intervals, count)
    return count


class Layers(NamedTuple):
    """One class's sums at G sizes.

    boxes: (G, 4); values: their contents one after the other; starts: (G,) the first value of each.
    spans: (all rows of the boxes, 2), the columns of a box from the first to the last that is not 0; rows: (G,) the first span of each.
    lines: (G, largest w + 2), room for a row of each.
    """

    boxes: Ints
    values: Ints
    starts: Ints
    spans: Ints
    rows: Ints
    lines: Ints


@kernel
def layers_of(boxes: Ints, values: Ints, grid: Grid) -> Layers:
    """(G, 4) boxes and their contents -> what `blend_row` needs."""
    heights, widths = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    sizes = heights * widths
    starts, rows = np.cumsum(sizes) - sizes, np.cumsum(heights) - heights
    spans = np.zeros((heights.sum(), 2), np.int64)
    for layer in range(len(boxes)):
        width = widths[layer]
        for row in range(heights[layer]):
            line = values[starts[layer] + row * width : starts[layer] + (row + 1) * width]
            start, end = 0, width
            while start < end and line[start] == 0:
                start += 1
            while start < end and line[end - 1] == 0:
                end -= 1
            spans[rows[layer] + row, 0], spans[rows[layer] + row, 1] = start, end
    return Layers(boxes, values, starts, spans, rows, np.empty((len(boxes), grid.starts.shape[1] + 1), np.int64))


@kernel
def full_rows(boxes: Ints, grid: Grid) -> tuple[int, int]:
    """The full-resolution rows that blend a row of the (G, 4) boxes -> the first, and the one after the last; equal if there are none."""
    top, bottom = grid.first.shape[1], 0
    for layer in range(len(boxes)):
        if boxes[layer, 2] > boxes[layer, 0]:
            top = min(top, np.searchsorted(grid.first[layer], boxes[layer, 0] - 1))
            bottom = max(bottom, np.searchsorted(grid.first[layer], boxes[layer, 2]))
    return min(top, bottom), bottom


@kernel
def blend_row(layers: Layers, grid: Grid, row: int, pixels: Ints) -> tuple[int, int]:
    """Write a full-resolution row of the sum of all layers into pixels[left:right] -> left, right; what is not written is 0."""
    count, width = len(layers.boxes), len(pixels)
    left, right = width, 0
    columns = np.zeros((count, 2), np.int64)  # of each layer, those that begin a cell (between two columns) which is not 0
    for layer in range(count):
        start, end = _blend_rows(layers, layer, grid.first[layer, row], grid.below[layer, row], 2 * grid.first.shape[1])
        if start < end:
            columns[layer, 0], columns[layer, 1] = max(layers.boxes[layer, 1] + start - 1, 0), layers.boxes[layer, 1] + end
            left, right = min(left, grid.starts[layer, columns[layer, 0]]), max(right, grid.starts[layer, columns[layer, 1]])
    pixels[left:right] = 0
    for layer in range(count):
        line, behind = layers.lines[layer], grid.behind[layer]
        for column in range(columns[layer, 0], columns[layer, 1]):
            place = column - layers.boxes[layer, 1] + 1
            one, slope = line[place] * 2 * width, line[place + 1] - line[place]
            for pixel in range(grid.starts[layer, column], grid.starts[layer, column + 1]):
                pixels[pixel] += one + slope * behind[pixel]
    return min(left, right), right


@kernel
def _blend_rows(layers: Layers, layer: int, row: int, weight: int, scale: int) -> tuple[int, int]:
    """Blend `row` and the next one of a layer -> the columns of its box from `start` to `end`, outside of which the blend is 0.

    They are written to lines[layer, start + 1 : end + 1], between two zeros. weight: of the second row, of `scale`.
    """
    y0, width = layers.boxes[layer, 0], layers.boxes[layer, 3] - layers.boxes[layer, 1]
    height = layers.boxes[layer, 2] - y0
    start, end = width, 0
    for beneath in range(2):
        place = row + beneath - y0
        if 0 <= place < height:
            span = layers.spans[layers.rows[layer] + place]
            if span[0] < span[1]:
                start, end = min(start, span[0]), max(end, span[1])
    if start >= end:
        return start, end
    line = layers.lines[layer, start : end + 2]
    line[:] = 0
    for beneath in range(2):
        place, share = row + beneath - y0, weight if beneath else scale - weight
        if 0 <= place < height and share:
            first = layers.starts[layer] + place * width
            for column in range(start, end):
                line[column - start + 1] += layers.values[first + column] * share
    return start, end
