"""Predicted probabilities as they are kept: uint8 at the network's resolution, each class cut to where it is not zero."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


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
        boxes = np.array([_box(plane) for plane in maps], np.int32)
        crops = [plane[y0:y1, x0:x1].ravel() for plane, (y0, x0, y1, x1) in zip(maps, boxes, strict=True)]
        return cls((maps.shape[1], maps.shape[2]), boxes, np.concatenate(crops))

    def crops(self) -> list[NDArray[np.uint8]]:
        """C maps of the boxes' shapes."""
        sizes = self.boxes[:, 2:] - self.boxes[:, :2]
        pieces = np.split(self.values, np.cumsum(sizes.prod(1))[:-1])
        return [piece.reshape(size) for piece, size in zip(pieces, sizes, strict=True)]

    def dense(self) -> NDArray[np.uint8]:
        """-> (C, h, w) uint8."""
        maps = np.zeros((len(self.boxes), *self.shape), np.uint8)
        for plane, (y0, x0, y1, x1), crop in zip(maps, self.boxes, self.crops(), strict=True):
            plane[y0:y1, x0:x1] = crop
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


def _box(plane: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(plane.any(1)), np.flatnonzero(plane.any(0))
    return (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1) if len(rows) else (0, 0, 0, 0)
