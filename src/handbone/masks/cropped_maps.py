"""Predicted probabilities as they are kept: uint8 at the network's resolution, each class cut to where it is not zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbone.masks.kernels import kernel
from handbone.utils.io import write_npz

Maps = NDArray[np.uint8] | NDArray[np.float32]  # 255 times the probability, or logits
# the logit whose probability is half a step of uint8, below which there is 0; the float32 above it, not below
FAINTEST = np.nextafter(np.float32(math.log(0.5 / 254.5)), np.float32(0))
# the same as an unsigned number, as which the float32 from FAINTEST on are smaller than all others: those compare faster
FAINTEST_BITS = FAINTEST.view(np.uint32)
CERTAIN = np.float32(6.3)  # a logit above which there is 255


@dataclass(frozen=True)
class CroppedMaps:
    """C maps of one (h, w) image, 255 for certainty.

    boxes: (C, 4) int32 rows of y0, x0, y1, x1, ends exclusive; values: the boxes' contents in row-major order, one after the other.
    """

    shape: tuple[int, int]
    boxes: NDArray[np.int32]
    values: NDArray[np.uint8]

    @classmethod
    def from_maps(cls, maps: Maps) -> CroppedMaps:
        """(C, h, w) uint8 probabilities or float32 logits -> cropped."""
        if maps.dtype == np.uint8:
            return cls.from_dense(maps.view(np.uint8))
        return cls.from_logits(maps.view(np.float32))

    @classmethod
    def from_logits(cls, logits: NDArray[np.float32]) -> CroppedMaps:
        """(C, h, w) -> cropped, without a sigmoid for the nine tenths of all pixels that are nothing; it differs from the plain way
        where float32 rounds the other way, within 1e-4 of the middle between two steps.
        """
        maps = np.ascontiguousarray(logits)
        values = np.empty(maps.size, np.uint8)  # memory is only taken where it is written
        boxes, count = _crops_of_logits(maps, maps.view(np.uint32), values)
        return cls((maps.shape[1], maps.shape[2]), boxes, values[:count].copy())

    @classmethod
    def from_dense(cls, maps: NDArray[np.uint8]) -> CroppedMaps:
        """(C, h, w) uint8 -> cropped."""
        boxes = _boxes(np.ascontiguousarray(maps))
        crops = [plane[y0:y1, x0:x1].ravel() for plane, (y0, x0, y1, x1) in zip(maps, boxes, strict=True)]
        return cls((maps.shape[1], maps.shape[2]), boxes, np.concatenate(crops))

    def dense(self) -> NDArray[np.uint8]:
        """-> (C, h, w) uint8."""
        maps = np.zeros((len(self.boxes), *self.shape), np.uint8)
        sizes = (self.boxes[:, 2:] - self.boxes[:, :2]).prod(1)
        pieces = np.split(self.values, np.cumsum(sizes)[:-1])
        for plane, (y0, x0, y1, x1), piece in zip(maps, self.boxes, pieces, strict=True):
            plane[y0:y1, x0:x1] = piece.reshape(y1 - y0, x1 - x0)
        return maps

    def save(self, path: Path) -> None:
        """Write a compressed npz; equal maps give equal bytes."""
        write_npz(path, {"shape": np.array(self.shape, np.int32), "boxes": self.boxes, "values": self.values})

    @classmethod
    def load(cls, path: Path) -> CroppedMaps:
        """The npz as it was written."""
        with np.load(path, allow_pickle=False) as arrays:
            height, width = arrays["shape"].tolist()
            return cls((height, width), arrays["boxes"], arrays["values"])


@kernel
def _boxes(maps: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(C, h, w) -> (C, 4), each map's bounding box; all zero where it is."""
    classes, height, width = maps.shape
    boxes = np.zeros((classes, 4), np.int32)
    columns = np.empty(width, np.uint8)
    for index in range(classes):
        columns[:] = 0
        top, bottom = -1, -1
        for y in range(height):
            any_set = np.uint8(0)
            row = maps[index, y]
            for x in range(width):  # no way out at the first hit, so that it runs many pixels at a time
                any_set |= row[x]
            if any_set:
                top = y if top < 0 else top
                bottom = y
                for x in range(width):
                    columns[x] |= row[x]
        if top >= 0:
            left, right = 0, width
            while columns[left] == 0:
                left += 1
            while columns[right - 1] == 0:
                right -= 1
            boxes[index, 0], boxes[index, 1], boxes[index, 2], boxes[index, 3] = top, left, bottom + 1, right
    return boxes


@kernel
def _crops_of_logits(logits: NDArray[np.float32], bits: NDArray[np.uint32], values: NDArray[np.uint8]) -> tuple[NDArray[np.int32], int]:
    """(C, h, w) logits, and the same as bits, -> boxes, and how many values stand in them. Class by class: what is read twice is cached."""
    boxes = np.zeros((len(logits), 4), np.int32)
    count = 0
    for index in range(len(logits)):
        top, bottom, left, right = _seen(bits[index])
        for y in range(top, bottom):
            for x in range(left, right):
                logit = logits[index, y, x]
                if logit >= CERTAIN:
                    values[count] = 255
                elif logit >= FAINTEST:
                    values[count] = int(255 / (1 + math.exp(-float(logit))) + 0.5)
                else:
                    values[count] = 0
                count += 1
        boxes[index, 0], boxes[index, 1], boxes[index, 2], boxes[index, 3] = top, left, bottom, right
    return boxes, count


@kernel
def _seen(bits: NDArray[np.uint32]) -> tuple[int, int, int, int]:
    """(h, w) logits as bits -> top, bottom, left, right of what is not 0 as a probability; all zero where everything is."""
    height, width = bits.shape
    top, bottom, left, right = 0, 0, 0, 0
    for y in range(height):
        least = bits[y, 0]
        for x in range(width):  # no way out at the first hit, so that it runs many pixels at a time
            least = min(least, bits[y, x])
        if least > FAINTEST_BITS:
            continue
        if bottom == 0:
            top, left = y, width
        bottom = y + 1
        for x in range(left):
            if bits[y, x] <= FAINTEST_BITS:
                left = x
                break
        for x in range(width, right, -1):
            if bits[y, x - 1] <= FAINTEST_BITS:
                right = x
                break
    return top, bottom, left, right
