"""Multi-label masks as runs of pixels, the form in which predictions are counted, written and read: its cost is that of their outline."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handbone.compiled import kernel
from handbone.data.masks import BoxedMasks, Mask
from handbone.data.packed import PackedMasks
from handbone.parallel import THREADS

Spans = NDArray[np.int64]
BLOCK = 512  # pixels that are looked at together
NONE_SET, ALL_SET = np.uint64(0), np.uint64(0x0101010101010101)  # of eight pixels


@dataclass(frozen=True)
class Runs:
    """C masks of one (H, W) image.

    spans: (R, 2) int64, the first pixel of each run and the one behind its last, counted row by row from 0; runs of a mask rise and
    never touch, so that one goes on through a row's end.
    splits: (C + 1,) int64; mask c has the runs spans[splits[c]:splits[c + 1]].
    """

    shape: tuple[int, int]
    splits: NDArray[np.int64]
    spans: Spans

    @classmethod
    def from_packed(cls, masks: PackedMasks) -> Runs:
        """Packed masks -> runs."""
        boxes, offsets = masks.boxes.astype(np.int64), masks.offsets()
        return cls(masks.shape, *collect(lambda spans: _packed_runs(boxes, offsets, masks.bits, masks.shape[1], spans)))

    @classmethod
    def from_boxed(cls, masks: BoxedMasks) -> Runs:
        """Boxed masks -> runs."""
        return cls.from_packed(PackedMasks.pack(masks))

    @classmethod
    def from_dense(cls, masks: Mask) -> Runs:
        """(C, H, W) bool -> runs. Threads share the classes: to read the planes is all that takes time."""
        flat = np.ascontiguousarray(masks).reshape(len(masks), -1).view(np.uint8)
        if rest := flat.shape[1] % BLOCK:
            flat = np.pad(flat, ((0, 0), (0, BLOCK - rest)))
        words = flat.view(np.uint64).reshape(len(flat), -1, BLOCK // 8)
        parts = zip(np.array_split(words, THREADS), np.array_split(flat, THREADS), strict=True)
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(lambda part: collect(lambda spans: _dense_runs(part[0], part[1], spans)), parts))
        counts = np.concatenate([np.zeros(1, np.int64), *(np.diff(splits) for splits, _ in found)])
        return cls((masks.shape[1], masks.shape[2]), np.cumsum(counts), np.concatenate([spans for _, spans in found]))

    def areas(self) -> NDArray[np.int64]:
        """(C,) pixels."""
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.spans[:, 1] - self.spans[:, 0])])
        return np.asarray(np.diff(sums[self.splits]), np.int64)

    def intersections(self, other: Runs) -> NDArray[np.int64]:
        """(C,) pixels that mask c of both holds."""
        if self.shape != other.shape or len(self.splits) != len(other.splits):
            raise ValueError(f"masks of {self.shape} and {other.shape} pixels, {len(self.splits) - 1} and {len(other.splits) - 1} classes")
        return _shared(self.splits, self.spans, other.splits, other.spans)

    def boxed(self) -> BoxedMasks:
        """-> boxed masks."""
        boxes = _bounds(self.splits, self.spans, self.shape[1])
        sizes = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        pixels = np.zeros(int(sizes.sum()), np.uint8)
        starts = np.cumsum(sizes) - sizes
        _fill(self.splits, self.spans, boxes, starts, self.shape[1], pixels)
        corners = zip(starts.tolist(), boxes.tolist(), strict=True)
        crops = [pixels[at : at + (y1 - y0) * (x1 - x0)].reshape(y1 - y0, x1 - x0).view(bool) for at, (y0, x0, y1, x1) in corners]
        return BoxedMasks(self.shape, boxes.astype(np.int32), crops)


def collect(find: Callable[[Spans], tuple[NDArray[np.int64], int]]) -> tuple[NDArray[np.int64], Spans]:
    """The splits and spans that a kernel finds; it is given room for them, and asked again where that was too little."""
    spans = np.empty((32768, 2), np.int64)
    splits, count = find(spans)
    if count > len(spans):
        spans = np.empty((count, 2), np.int64)
        splits, count = find(spans)
    return splits, spans[:count].copy()


@kernel
def step(inside: bool, begun: int, pixel: int, first: int, spans: Spans, count: int) -> tuple[int, int]:
    """Begin a run at `pixel`, or end before it the one that began at `begun` (-1: none); -> begun and the number of spans.

    The mask's runs are the spans from `first` on. What finds no room is counted and not kept.
    """
    if inside and begun < 0:
        begun = pixel
    elif not inside and begun >= 0:
        if count > first and count <= len(spans) and spans[count - 1, 1] == begun:  # goes on through a row's end
            spans[count - 1, 1] = pixel
        else:
            if count < len(spans):
                spans[count, 0] = begun
                spans[count, 1] = pixel
            count += 1
        begun = -1
    return begun, count


@kernel
def _packed_runs(
    boxes: NDArray[np.int64], offsets: NDArray[np.int64], bits: NDArray[np.uint8], width: int, spans: Spans
) -> tuple[NDArray[np.int64], int]:
    splits = np.zeros(len(boxes) + 1, np.int64)
    count = 0
    for index in range(len(boxes)):
        y0, x0, y1, x1 = boxes[index]
        stride = (x1 - x0 + 7) // 8
        for y in range(y0, y1):
            row = offsets[index] + (y - y0) * stride
            begun = -1
            for byte in range(stride):
                value = bits[row + byte]
                if (value == 0 and begun < 0) or (value == 255 and begun >= 0):
                    continue
                for bit in range(8):
                    pixel = y * width + x0 + byte * 8 + bit
                    begun, count = step((value >> bit & 1) != 0, begun, pixel, splits[index], spans, count)
            _, count = step(False, begun, y * width + x1, splits[index], spans, count)
        splits[index + 1] = count
    return splits, count


@kernel
def _dense_runs(words: NDArray[np.uint64], pixels: NDArray[np.uint8], spans: Spans) -> tuple[NDArray[np.int64], int]:
    """(C, N, BLOCK / 8) words and the same bytes as (C, pixels), 0 or 1 each."""
    classes, blocks, length = words.shape
    splits = np.zeros(classes + 1, np.int64)
    count = 0
    for index in range(classes):
        begun = -1
        for block in range(blocks):
            found = np.uint64(0)
            for word in range(length):  # without a way out at the first hit, so that it runs many words at a time
                found |= words[index, block, word]
            if found == 0 and begun < 0:
                continue
            same = NONE_SET if begun < 0 else ALL_SET  # eight pixels at which nothing begins or ends
            for word in range(length):
                if words[index, block, word] == same:
                    continue
                start = 8 * (block * length + word)
                for pixel in range(start, start + 8):
                    if (pixels[index, pixel] != 0) != (begun >= 0):
                        begun, count = step(begun < 0, begun, pixel, splits[index], spans, count)
                same = NONE_SET if begun < 0 else ALL_SET
        _, count = step(False, begun, pixels.shape[1], splits[index], spans, count)
        splits[index + 1] = count
    return splits, count


@kernel
def _shared(splits: NDArray[np.int64], spans: Spans, other_splits: NDArray[np.int64], others: Spans) -> NDArray[np.int64]:
    pixels = np.zeros(len(splits) - 1, np.int64)
    for index in range(len(pixels)):
        one, other = splits[index], other_splits[index]
        while one < splits[index + 1] and other < other_splits[index + 1]:
            pixels[index] += max(0, min(spans[one, 1], others[other, 1]) - max(spans[one, 0], others[other, 0]))
            if spans[one, 1] < others[other, 1]:
                one += 1
            else:
                other += 1
    return pixels


@kernel
def _bounds(splits: NDArray[np.int64], spans: Spans, width: int) -> NDArray[np.int64]:
    boxes = np.zeros((len(splits) - 1, 4), np.int64)
    for index in range(len(boxes)):
        if splits[index] == splits[index + 1]:
            continue
        left, right = width, 0
        for run in range(splits[index], splits[index + 1]):
            start, end = spans[run]
            if start // width == (end - 1) // width:
                left, right = min(left, start % width), max(right, (end - 1) % width + 1)
            else:
                left, right = 0, width
        boxes[index, 0] = spans[splits[index], 0] // width
        boxes[index, 1] = left
        boxes[index, 2] = (spans[splits[index + 1] - 1, 1] - 1) // width + 1
        boxes[index, 3] = right
    return boxes


@kernel
def _fill(
    splits: NDArray[np.int64], spans: Spans, boxes: NDArray[np.int64], starts: NDArray[np.int64], width: int, pixels: NDArray[np.uint8]
) -> None:
    for index in range(len(boxes)):
        top, left, _, right = boxes[index]
        for run in range(splits[index], splits[index + 1]):
            position, end = spans[run]
            while position < end:  # a run that goes on through a row's end is filled row by row
                row = position // width
                stop = min(end, (row + 1) * width)
                at = starts[index] + (row - top) * (right - left) - left - row * width
                pixels[at + position : at + stop] = 1
                position = stop
