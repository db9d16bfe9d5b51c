"""Soft maps of many classes, each cropped to a box outside of which it is zero: training targets and predicted probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbone.masks.boxed import BOXES_BYTES, check_boxes
from handbone.masks.kernels import kernel
from handbone.utils.npz import open_npz, write_npz

# logit whose probability is half a step of uint8; below it the map is 0. The float32 just above the exact value
MIN_LOGIT = np.nextafter(np.float32(math.log(0.5 / 254.5)), np.float32(0))
MAX_LOGIT = np.float32(6.3)  # from this logit on the map is 255
LEVEL = 3  # of zlib: half of the time of its default, and files that are at most a third larger


@dataclass(frozen=True)
class CroppedMaps:
    """C maps of one (h, w) image in steps of 1 / 255: coverage (the share of each pixel inside a mask) or probabilities.

    boxes: (C, 4) int32 rows of y0, x0, y1, x1 in pixels, ends exclusive; all zero for an empty map.
    values: (sum of the boxes' areas,) uint8, the contents of the boxes one after the other, each in row-major order.
    """

    shape: tuple[int, int]
    boxes: NDArray[np.int32]
    values: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """A ValueError if a box is not inside of the image, or the values are not as many as the boxes need."""
        check_boxes(self.shape, self.boxes)
        if self.values.dtype != np.uint8 or self.values.shape != (box_pixels(self.boxes),):
            raise ValueError(f"{self.values.size} values of {self.values.dtype}, not {box_pixels(self.boxes)} of uint8 as the boxes need")

    @classmethod
    def from_crops(cls, shape: tuple[int, int], boxes: NDArray[np.int32], crops: Sequence[NDArray[np.uint8]]) -> CroppedMaps:
        """The (C, 4) boxes in an (h, w) image and the content of each -> cropped."""
        return cls(shape, boxes, np.concatenate([np.zeros(0, np.uint8), *(crop.ravel() for crop in crops)]))

    @classmethod
    def from_dense(cls, maps: NDArray[np.uint8]) -> CroppedMaps:
        """(C, h, w) uint8 -> cropped, each to its bounding box."""
        boxes = _boxes(np.ascontiguousarray(maps))
        crops = [plane[y0:y1, x0:x1] for plane, (y0, x0, y1, x1) in zip(maps, boxes, strict=True)]
        return cls.from_crops((maps.shape[1], maps.shape[2]), boxes, crops)

    @classmethod
    def from_logits(cls, logits: NDArray[np.float32]) -> CroppedMaps:
        """(C, h, w) -> cropped probabilities, without a sigmoid for the nine tenths of all pixels that are zero; NaN gives 0.

        They equal `round(255 * sigmoid(logits))` except within 1e-4 of the middle between two steps, where float32 may round the other way.
        """
        maps = np.ascontiguousarray(logits)
        values = np.empty(maps.size, np.uint8)  # the system provides memory only for the part that is written
        boxes, count = _crops_of_logits(maps, values)
        return cls((maps.shape[1], maps.shape[2]), boxes, values[:count].copy())

    @classmethod
    def from_maps(cls, maps: NDArray[np.uint8] | NDArray[np.float32]) -> CroppedMaps:
        """(C, h, w) uint8 probabilities or float32 logits, whichever a predictor returns -> cropped."""
        if maps.dtype == np.uint8:
            return cls.from_dense(maps.view(np.uint8))
        return cls.from_logits(maps.view(np.float32))

    def crops(self) -> list[NDArray[np.uint8]]:
        """-> C views of `values`, each in its box's shape."""
        sizes = self.boxes[:, 2:] - self.boxes[:, :2]
        pieces = np.split(self.values, np.cumsum(sizes.prod(1))[:-1])
        return [piece.reshape(size) for piece, size in zip(pieces, sizes, strict=True)]

    def dense(self) -> NDArray[np.uint8]:
        """-> (C, h, w) uint8."""
        maps = np.zeros((len(self.boxes), *self.shape), np.uint8)
        for plane, (y0, x0, y1, x1), crop in zip(maps, self.boxes, self.crops(), strict=True):
            plane[y0:y1, x0:x1] = crop
        return maps

    def crop(self, window: tuple[int, int, int, int]) -> CroppedMaps:
        """The part of each map in `window` (y0, x0, y1, x1 in pixels, ends exclusive), in the window's coordinates."""
        top, left, bottom, right = window
        boxes = np.clip(self.boxes, [top, left, top, left], [bottom, right, bottom, right])
        boxes[(boxes[:, :2] >= boxes[:, 2:]).any(1)] = [top, left, top, left]
        crops = [
            whole[y0 - own_y : y1 - own_y, x0 - own_x : x1 - own_x] if y1 > y0 else whole[:0]
            for whole, (own_y, own_x, _, _), (y0, x0, y1, x1) in zip(self.crops(), self.boxes, boxes, strict=True)
        ]
        return CroppedMaps.from_crops((bottom - top, right - left), (boxes - [top, left, top, left]).astype(np.int32), crops)

    def reordered(self, order: Sequence[int]) -> CroppedMaps:
        """The C maps in another order: map i becomes the one that is number `order[i]` now."""
        crops = self.crops()
        return CroppedMaps.from_crops(self.shape, self.boxes[list(order)], [crops[index] for index in order])

    def binarize(self) -> CroppedMaps:
        """The same with 255 from half (128) on, else 0."""
        return CroppedMaps(self.shape, self.boxes, np.where(self.values >= 128, np.uint8(255), np.uint8(0)))

    def save(self, path: Path) -> None:
        """Write a compressed npz; equal maps give equal bytes."""
        write_npz(path, {"shape": np.array(self.shape, np.int32), "boxes": self.boxes, "values": self.values}, level=LEVEL)

    @classmethod
    def load(cls, path: Path) -> CroppedMaps:
        """Read the npz that `save` wrote. Raises `UserError` (`predictions.corrupt`) if it is not intact."""
        with open_npz(path, "predictions.corrupt", "remove the file and run dvc repro, which runs the networks again") as arrays:
            arrays.require(("shape", "boxes", "values"))
            height, width = arrays.read("shape", np.int32, (2,)).tolist()
            boxes = arrays.read("boxes", np.int32, (None, 4), limit=BOXES_BYTES)
            check_boxes((height, width), boxes)
            return cls((height, width), boxes, arrays.read("values", np.uint8, (box_pixels(boxes),)))


def box_pixels(boxes: NDArray[np.int32]) -> int:
    """(C, 4) boxes -> the sum of their areas."""
    sizes = (boxes[:, 2:] - boxes[:, :2]).astype(np.int64)
    return int(sizes[:, 0] @ sizes[:, 1])


@kernel
def _boxes(maps: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(C, h, w) -> (C, 4), each map's bounding box; all zero where the map is."""
    classes, height, width = maps.shape
    boxes = np.zeros((classes, 4), np.int32)
    columns = np.empty(width, np.uint8)
    for index in range(classes):
        columns[:] = 0
        top, bottom = -1, -1
        for y in range(height):
            any_set = np.uint8(0)
            row = maps[index, y]
            for x in range(width):  # without an exit at the first hit, so that the compiler handles many pixels at a time
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
def _crops_of_logits(logits: NDArray[np.float32], values: NDArray[np.uint8]) -> tuple[NDArray[np.int32], int]:
    """(C, h, w) logits -> (C, 4) boxes, and the number of `values` written. Class by class: the second pass reads from the CPU's cache."""
    boxes = np.zeros((len(logits), 4), np.int32)
    count = 0
    for index in range(len(logits)):
        top, left, bottom, right = _logits_box(logits[index])
        for y in range(top, bottom):
            for x in range(left, right):
                logit = logits[index, y, x]
                if logit >= MAX_LOGIT:
                    values[count] = 255
                elif logit >= MIN_LOGIT:
                    values[count] = int(255 / (1 + math.exp(-float(logit))) + 0.5)
                else:
                    values[count] = 0
                count += 1
        boxes[index, 0], boxes[index, 1], boxes[index, 2], boxes[index, 3] = top, left, bottom, right
    return boxes, count


@kernel
def _logits_box(logits: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """(h, w) -> y0, x0, y1, x1 of the logits from `MIN_LOGIT` on, ends exclusive; all zero where there are none."""
    height, width = logits.shape
    top, left, bottom, right = 0, 0, 0, 0
    for y in range(height):
        any_set = np.uint8(0)
        for x in range(width):  # without an exit at the first hit, so that the compiler handles many pixels at a time
            any_set |= np.uint8(logits[y, x] >= MIN_LOGIT)
        if not any_set:
            continue
        if bottom == 0:
            top, left = y, width
        bottom = y + 1
        for x in range(left):
            if logits[y, x] >= MIN_LOGIT:
                left = x
                break
        for x in range(width, right, -1):
            if logits[y, x - 1] >= MIN_LOGIT:
                right = x
                break
    return top, left, bottom, right
