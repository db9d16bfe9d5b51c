"""Multi-label masks as boxes and crops: the form in which polygons are painted and pictures are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class BoxedMasks:
    """C masks of one (H, W) image, each cropped to its bounding box.

    boxes: (C, 4) int32 rows of y0, x0, y1, x1 in pixels, ends exclusive; all zero for an empty mask.
    crops: C bool arrays, each in its box's shape.
    """

    shape: tuple[int, int]
    boxes: NDArray[np.int32]
    crops: Sequence[Mask]

    @classmethod
    def from_crops(cls, shape: tuple[int, int], corners: Sequence[tuple[int, int]], crops: Sequence[Mask]) -> BoxedMasks:
        """C crops and the place (y, x) of each one's first pixel -> boxed, each crop reduced to the bounding box of its set pixels."""
        tight = [_tighten(y, x, crop) for (y, x), crop in zip(corners, crops, strict=True)]
        boxes = np.array([[y, x, y + crop.shape[0], x + crop.shape[1]] for y, x, crop in tight], np.int32).reshape(-1, 4)
        return cls(shape, boxes, [crop for _, _, crop in tight])

    @classmethod
    def from_dense(cls, masks: Mask) -> BoxedMasks:
        """(C, H, W) bool -> boxed."""
        return cls.from_crops((masks.shape[1], masks.shape[2]), [(0, 0)] * len(masks), list(masks))

    def dense(self) -> Mask:
        """-> (C, H, W) bool."""
        masks = np.zeros((len(self.crops), *self.shape), bool)
        for mask, (y0, x0, y1, x1), crop in zip(masks, self.boxes, self.crops, strict=True):
            mask[y0:y1, x0:x1] = crop
        return masks

    def areas(self) -> NDArray[np.int64]:
        """-> (C,) pixels."""
        return np.array([np.count_nonzero(crop) for crop in self.crops], np.int64)


def _tighten(y: int, x: int, crop: Mask) -> tuple[int, int, Mask]:
    """A crop at (y, x) -> the bounding box of its set pixels: y, x and content; an empty crop at 0, 0 if there are none."""
    rows, columns = np.flatnonzero(crop.any(1)), np.flatnonzero(crop.any(0))
    if not len(rows):
        return 0, 0, np.zeros((0, 0), bool)
    (top, bottom), (left, right) = rows[[0, -1]], columns[[0, -1]]
    return y + int(top), x + int(left), np.ascontiguousarray(crop[top : bottom + 1, left : right + 1])
