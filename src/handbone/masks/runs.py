"""Multi-label masks as runs of pixels: the form in which masks are counted, written and read. Time and memory grow with the outlines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from handbone.masks.boxed import BoxedMasks
from handbone.masks.kernels import kernel
from handbone.masks.packed import PackedMasks

Intervals = NDArray[np.int64]
ROOM = 32768  # intervals that fit in the first buffer


@dataclass(frozen=True)
class RunLengthMasks:
    """C masks of one (H, W) image.

    intervals: (R, 2) int64, start and end (exclusive) of each run, in pixels counted row by row from 0. The runs of a mask rise and never
    touch, so a run continues through the end of a row.
    indptr: (C + 1,) int64; the runs of mask c are intervals[indptr[c]:indptr[c + 1]].
    """

    shape: tuple[int, int]
    indptr: NDArray[np.int64]
    intervals: Intervals

    @classmethod
    def from_packed(cls, masks: PackedMasks) -> RunLengthMasks:
        """Packed masks -> runs."""
        boxes, offsets = masks.boxes.astype(np.int64), masks.offsets()
        width = masks.shape[1]
        return cls(masks.shape, *with_growing_buffer(lambda intervals: _packed_runs(boxes, offsets, masks.bits, width, intervals)))

    @classmethod
    def from_boxed(cls, masks: BoxedMasks) -> RunLengthMasks:
        """Boxed masks -> runs."""
        return cls.from_packed(PackedMasks.pack(masks))

    def transposed(self) -> RunLengthMasks:
        """-> the C masks of the (W, H) image, x and y exchanged: their runs count the pixels column by column."""
        return RunLengthMasks.from_boxed(self.boxed().transposed())

    def areas(self) -> NDArray[np.int64]:
        """-> (C,) pixels."""
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.intervals[:, 1] - self.intervals[:, 0])])
        return np.asarray(np.diff(sums[self.indptr]), np.int64)

    def intersections(self, other: RunLengthMasks) -> NDArray[np.int64]:
        """-> (C,) pixels in mask c of both; a ValueError if the shapes or the numbers of classes differ."""
        if self.shape != other.shape or len(self.indptr) != len(other.indptr):
            classes = len(self.indptr) - 1, len(other.indptr) - 1
            raise ValueError(f"masks of {self.shape} and {other.shape} pixels, {classes[0]} and {classes[1]} classes")
        return _intersections(self.indptr, self.intervals, other.indptr, other.intervals)

    def pixels_inside(self, others: RunLengthMasks) -> NDArray[np.int64]:
        """-> (C,) pixels of each mask that are in any of the `others`, which must not overlap each other."""
        covered, classes = others.intervals[np.argsort(others.intervals[:, 0])], len(self.indptr) - 1
        repeated = RunLengthMasks(others.shape, np.arange(classes + 1) * len(covered), np.tile(covered, (classes, 1)))
        return self.intersections(repeated)

    def one_by_one(self) -> Iterator[RunLengthMasks]:
        """-> each of the C masks alone, for work that would otherwise take C times the memory of a plane."""
        for first, end in pairwise(self.indptr.tolist()):
            yield RunLengthMasks(self.shape, np.array([0, end - first], np.int64), self.intervals[first:end])

    def boxed(self) -> BoxedMasks:
        """-> boxed masks."""
        boxes = _bounds(self.indptr, self.intervals, self.shape[1])
        sizes = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        pixels = np.zeros(int(sizes.sum()), np.uint8)
        starts = np.cumsum(sizes) - sizes
        _fill(self.indptr, self.intervals, boxes, starts, self.shape[1], pixels)
        corners = zip(starts.tolist(), boxes.tolist(), strict=True)
        crops = [pixels[at : at + (y1 - y0) * (x1 - x0)].reshape(y1 - y0, x1 - x0).view(bool) for at, (y0, x0, y1, x1) in corners]
        return BoxedMasks(self.shape, boxes.astype(np.int32), crops)


def with_growing_buffer(find: Callable[[Intervals], tuple[NDArray[np.int64], int]]) -> tuple[NDArray[np.int64], Intervals]:
    """Call a kernel that writes intervals into a buffer and returns indptr and their number -> indptr and intervals.

    If the buffer is too small, the kernel still counts, and is called again with a buffer of that size.
    """
    intervals = np.empty((ROOM, 2), np.int64)
    indptr, count = find(intervals)
    if count > len(intervals):
        intervals = np.empty((count, 2), np.int64)
        indptr, count = find(intervals)
    return indptr, intervals[:count].copy()


@kernel
def push_pixel(inside: bool, run_start: int, pixel: int, first: int, intervals: Intervals, count: int) -> tuple[int, int]:
    """Begin a run at `pixel` if that is inside, or end the run that began at `run_start` (-1: none) before it -> run_start, count.

    A mask's runs are the intervals from `first` to `count`. A run that does not fit into `intervals` is counted, but not stored.
    """
    if inside and run_start < 0:
        run_start = pixel
    elif not inside and run_start >= 0:
        if count > first and count <= len(intervals) and intervals[count - 1, 1] == run_start:  # continues a run of the row before
            intervals[count - 1, 1] = pixel
        elif pixel > run_start:  # a map that is larger than the image has places without a pixel
            if count < len(intervals):
                intervals[count, 0] = run_start
                intervals[count, 1] = pixel
            count += 1
        run_start = -1
    return run_start, count


@kernel
def _packed_runs(
    boxes: NDArray[np.int64], offsets: NDArray[np.int64], bits: NDArray[np.uint8], width: int, intervals: Intervals
) -> tuple[NDArray[np.int64], int]:
    """-> indptr and the number of intervals."""
    indptr = np.zeros(len(boxes) + 1, np.int64)
    count = 0
    for index in range(len(boxes)):
        y0, x0, y1, x1 = boxes[index]
        stride = (x1 - x0 + 7) // 8
        for y in range(y0, y1):
            row = offsets[index] + (y - y0) * stride
            run_start = -1
            for byte in range(stride):
                value = bits[row + byte]
                if (value == 0 and run_start < 0) or (value == 255 and run_start >= 0):
                    continue
                for bit in range(8):
                    pixel = y * width + x0 + byte * 8 + bit
                    run_start, count = push_pixel((value >> bit & 1) != 0, run_start, pixel, indptr[index], intervals, count)
            _, count = push_pixel(False, run_start, y * width + x1, indptr[index], intervals, count)
        indptr[index + 1] = count
    return indptr, count


@kernel
def _intersections(
    indptr: NDArray[np.int64], intervals: Intervals, other_indptr: NDArray[np.int64], other_intervals: Intervals
) -> NDArray[np.int64]:
    """-> (C,) pixels in both."""
    pixels = np.zeros(len(indptr) - 1, np.int64)
    for index in range(len(pixels)):
        one, other = indptr[index], other_indptr[index]
        while one < indptr[index + 1] and other < other_indptr[index + 1]:
            start, end = max(intervals[one, 0], other_intervals[other, 0]), min(intervals[one, 1], other_intervals[other, 1])
            pixels[index] += max(0, end - start)
            if intervals[one, 1] < other_intervals[other, 1]:
                one += 1
            else:
                other += 1
    return pixels


@kernel
def _bounds(indptr: NDArray[np.int64], intervals: Intervals, width: int) -> NDArray[np.int64]:
    """-> (C, 4) bounding boxes y0, x0, y1, x1; all zero for an empty mask."""
    boxes = np.zeros((len(indptr) - 1, 4), np.int64)
    for index in range(len(boxes)):
        if indptr[index] == indptr[index + 1]:
            continue
        left, right = width, 0
        for run in range(indptr[index], indptr[index + 1]):
            start, end = intervals[run]
            if start // width == (end - 1) // width:
                left, right = min(left, start % width), max(right, (end - 1) % width + 1)
            else:
                left, right = 0, width
        boxes[index, 0] = intervals[indptr[index], 0] // width
        boxes[index, 1] = left
        boxes[index, 2] = (intervals[indptr[index + 1] - 1, 1] - 1) // width + 1
        boxes[index, 3] = right
    return boxes


@kernel
def _fill(
    indptr: NDArray[np.int64],
    intervals: Intervals,
    boxes: NDArray[np.int64],
    starts: NDArray[np.int64],
    width: int,
    pixels: NDArray[np.uint8],
) -> None:
    """Set the runs to 1 in `pixels`, all 0 before, where the content of box c begins at starts[c]."""
    for index in range(len(boxes)):
        top, left, _, right = boxes[index]
        for run in range(indptr[index], indptr[index + 1]):
            position, end = intervals[run]
            while position < end:  # row by row, as a run may continue through a row's end
                row = position // width
                stop = min(end, (row + 1) * width)
                at = starts[index] + (row - top) * (right - left) - left - row * width
                pixels[at + position : at + stop] = 1
                position = stop
