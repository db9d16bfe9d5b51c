"""Multi-label masks as boxes and bits: the form in which the cache stores them and training looks up coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handbone.masks.boxed import BoxedMasks, Mask


@dataclass(frozen=True)
class PackedMasks:
    """C masks of one (H, W) image, one bit per pixel inside each mask's bounding box.

    boxes: (C, 4) int32 rows of y0, x0, y1, x1 in pixels, ends exclusive; all zero for an empty mask.
    bits: uint8, the boxes' rows one after the other; each row begins with a new byte, and its first pixel is the lowest bit.
    """

    shape: tuple[int, int]
    boxes: NDArray[np.int32]
    bits: NDArray[np.uint8]

    @classmethod
    def pack(cls, masks: BoxedMasks) -> PackedMasks:
        """Boxed masks -> packed."""
        rows = [np.packbits(crop, axis=1, bitorder="little").ravel() for crop in masks.crops]
        return cls(masks.shape, masks.boxes, np.concatenate(rows))

    def strides(self) -> NDArray[np.int64]:
        """-> (C,) bytes per row of each mask's box."""
        return ((self.boxes[:, 3] - self.boxes[:, 1] + 7) // 8).astype(np.int64)

    def offsets(self) -> NDArray[np.int64]:
        """-> (C + 1,) index of each mask's first byte, and the number of all bytes."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.strides() * (self.boxes[:, 2] - self.boxes[:, 0]))])

    def unpack(self) -> BoxedMasks:
        """-> boxed masks."""
        pieces = np.split(self.bits, self.offsets()[1:-1])
        crops: list[Mask] = []
        for piece, stride, (y0, x0, y1, x1) in zip(pieces, self.strides(), self.boxes, strict=True):
            rows = np.unpackbits(piece.reshape(y1 - y0, stride), axis=1, count=int(x1 - x0), bitorder="little")
            crops.append(rows.view(bool))
        return BoxedMasks(self.shape, self.boxes, crops)
