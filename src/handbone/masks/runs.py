"""Multi-label masks as runs of pixels, the form in which predictions are counted, written and read: its cost is that of their outline."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handbone.masks.boxed import BoxedMasks, Mask
from handbone.masks.kernels import kernel
from handbone.masks.packed import PackedMasks
from handbone.utils.parallel import THREADS

Intervals = NDArray[np.int64]
BLOCK = 512  # pixels that are looked at together
NONE_SET, ALL_SET = np.uint64(0), np.uint64(0x0101010101010101)  # of eight pixels


@dataclass(frozen=True)
class RunLengthMasks:
    """C masks of one (H, W) image.

    intervals: (R, 2) int64, the first pixel of each run and the one behind its last, counted row by row from 0; runs of a mask rise and
    never touch, so that one goes on through a row's end.
    indptr: (C + 1,) int64; mask c has the runs intervals[indptr[c]:indptr[c + 1]].
    """

    shape: tuple[int, int]
    indptr: NDArray[np.int64]
    intervals: Intervals

    @classmethod
    def from_packed(cls, masks: PackedMasks) -> RunLengthMasks:
        """Packed masks -> runs."""
        boxes, offsets = masks.boxes.astype(np.int64), masks.offsets()
        return cls(masks.shape, *with_growing_buffer(lambda intervals: _packed_runs(boxes, offsets, masks.bits, masks.shape[1], intervals)))

    @classmethod
    def from_boxed(cls, masks: BoxedMasks) -> RunLengthMasks:
        """Boxed masks -> runs."""
        return cls.from_packed(PackedMasks.pack(masks))

    @classmethod
    def from_dense(cls, masks: Mask) -> RunLengthMasks:
        """(C, H, W) bool -> runs. Threads share the classes: to read the planes is all that takes time."""
        flat = np.ascontiguousarray(masks).reshape(len(masks), -1).view(np.uint8)
        if rest := flat.shape[1] % BLOCK:
            flat = np.pad(flat, ((0, 0), (0, BLOCK - rest)))
        words = flat.view(np.uint64).reshape(len(flat), -1, BLOCK // 8)
        parts = zip(np.array_split(words, THREADS), np.array_split(flat, THREADS), strict=True)
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(lambda part: with_growing_buffer(lambda intervals: _dense_runs(part[0], part[1], intervals)), parts))
        counts = np.concatenate([np.zeros(1, np.int64), *(np.diff(indptr) for indptr, _ in found)])
        return cls((masks.shape[1], masks.shape[2]), np.cumsum(counts), np.concatenate([intervals for _, intervals in found]))

    def areas(self) -> NDArray[np.int64]:
        """(C,) pixels."""
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.intervals[:, 1] - self.intervals[:, 0])])
        return np.asarray(np.diff(sums[self.indptr]), np.int64)

    def intersections(self, other: RunLengthMasks) -> NDArray[np.int64]:
        """(C,) pixels that mask c of both holds."""
        if self.shape != other.shape or len(self.indptr) != len(other.indptr):
            raise ValueError(f"masks of {self.shape} and {other.shape} pixels, {len(self.indptr) - 1} and {len(other.indptr) - 1} classes")
        return _shared(self.indptr, self.intervals, other.indptr, other.intervals)

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
    """The indptr and intervals that a kernel finds; it is given room for them, and asked again where that was too little."""
    intervals = np.empty((32768, 2), np.int64)
    indptr, count = find(intervals)
    if count > len(intervals):
        intervals = np.empty((count, 2), np.int64)
        indptr, count = find(intervals)
    return indptr, intervals[:count].copy()


@kernel
def push_pixel(inside: bool, run_start: int, pixel: int, first: int, intervals: Intervals, count: int) -> tuple[int, int]:
    """Begin a run at `pixel`, or end before it the one that began at `run_start` (-1: none); -> run_start and the number of intervals.

    The mask's runs are the intervals from `first` on. What finds no room is counted and not kept.
    """
    if inside and run_start < 0:
        run_start = pixel
    elif not inside and run_start >= 0:
        if count > first and count <= len(intervals) and intervals[count - 1, 1] == run_start:  # goes on through a row's end
            intervals[count - 1, 1] = pixel
        else:
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
def _dense_runs(words: NDArray[np.uint64], pixels: NDArray[np.uint8], intervals: Intervals) -> tuple[NDArray[np.int64], int]:
    """(C, N, BLOCK / 8) words and the same bytes as (C, pixels), 0 or 1 each."""
    classes, blocks, length = words.shape
    indptr = np.zeros(classes + 1, np.int64)
    count = 0
    for index in range(classes):
        run_start = -1
        for block in range(blocks):
            found = np.uint64(0)
            for word in range(length):  # without a way out at the first hit, so that it runs many words at a time
                found |= words[index, block, word]
            if found == 0 and run_start < 0:
                continue
            same = NONE_SET if run_start < 0 else ALL_SET  # eight pixels at which nothing begins or ends
            for word in range(length):
                if words[index, block, word] == same:
                    continue
                start = 8 * (block * length + word)
                for pixel in range(start, start + 8):
                    if (pixels[index, pixel] != 0) != (run_start >= 0):
                        run_start, count = push_pixel(run_start < 0, run_start, pixel, indptr[index], intervals, count)
                same = NONE_SET if run_start < 0 else ALL_SET
        _, count = push_pixel(False, run_start, pixels.shape[1], indptr[index], intervals, count)
        indptr[index + 1] = count
    return indptr, count


@kernel
def _shared(indptr: NDArray[np.int64], intervals: Intervals, other_splits: NDArray[np.int64], others: Intervals) -> NDArray[np.int64]:
    pixels = np.zeros(len(indptr) - 1, np.int64)
    for index in range(len(pixels)):
        one, other = indptr[index], other_splits[index]
        while one < indptr[index + 1] and other < other_splits[index + 1]:
            pixels[index] += max(0, min(intervals[one, 1], others[other, 1]) - max(intervals[one, 0], others[other, 0]))
            if intervals[one, 1] < others[other, 1]:
                one += 1
            else:
                other += 1
    return pixels


@kernel
def _bounds(indptr: NDArray[np.int64], intervals: Intervals, width: int) -> NDArray[np.int64]:
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
    for index in range(len(boxes)):
        top, left, _, right = boxes[index]
        for run in range(indptr[index], indptr[index + 1]):
            position, end = intervals[run]
            while position < end:  # a run that goes on through a row's end is filled row by row
                row = position // width
                stop = min(end, (row + 1) * width)
                at = starts[index] + (row - top) * (right - left) - left - row * width
                pixels[at + position : at + stop] = 1
                position = stop
