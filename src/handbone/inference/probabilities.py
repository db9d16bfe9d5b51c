"""Predicted probabilities as they are kept: uint8 at the network's resolution, each class cut to where it is not zero."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbone.compiled import kernel


@dataclass(frozen=True)
class Probabilities:
    """C maps of one (h, w) image, 255 for certainty.

    boxes: (C, 4) int32 rows of y0, x0, y1, x1, ends exclusive; values: the boxes' contents in row-major order, one after the other.
    """

    shape: tuple[int, int]
    boxes: NDArray[np.int32]
    values: NDArray[np.uint8]

    @classmethod
    def from_dense(cls, maps: NDArray[np.uint8]) -> Probabilities:
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
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, allow_pickle=False, shape=np.array(self.shape, np.int32), boxes=self.boxes, values=self.values)

    @classmethod
    def load(cls, path: Path) -> Probabilities:
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
