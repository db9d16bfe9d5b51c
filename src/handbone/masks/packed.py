"""Multi-label masks as boxes and bits: the form in which the cache stores them and training looks up coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handbone.masks.boxed import BOXES_BYTES, BoxedMasks, Mask, check_boxes
from handbone.utils.npz import NpzReader


@dataclass(frozen=True)
class PackedMasks:
    """C masks of one (H, W) image, one bit per pixel inside each mask's bounding box.

    boxes: (C, 4) int32 rows of y0, x0, y1, x1 in pixels, ends exclusive; all zero for an empty mask.
    bits: uint8, the boxes' rows one after the other; each row begins with a new byte, and its first pixel is the lowest bit.
    """

    shape: tuple[int, int]
    boxes: NDArray[np.int32]
    bits: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """A ValueError if a box is not inside of the image, or the bits are not as many as the boxes need."""
        check_boxes(self.shape, self.boxes)
        needed = int(self.offsets()[-1])
        if self.bits.dtype != np.uint8 or self.bits.shape != (needed,):
            raise ValueError(f"{self.bits.size} bytes of {self.bits.dtype}, not {needed} of uint8 as the boxes need")

    @classmethod
    def read(cls, arrays: NpzReader, shape: tuple[int, int]) -> PackedMasks:
        """The members `boxes` and `bits` of an open npz, where also the bits behind the end of each row must be zero."""
        boxes = arrays.read("boxes", np.int32, (None, 4), limit=BOXES_BYTES)
        check_boxes(shape, boxes)
        masks = cls(shape, boxes, arrays.read("bits", np.uint8, (int(packed_offsets(boxes)[-1]),)))
        if masks._has_stray_bits():
            raise ValueError("bits beyond the right end of a box")
        return masks

    @classmethod
    def pack(cls, masks: BoxedMasks) -> PackedMasks:
        """Boxed masks -> packed."""
        rows = [np.packbits(crop, axis=1, bitorder="little").ravel() for crop in masks.crops]
        return cls(masks.shape, masks.boxes, np.concatenate(rows))

    def strides(self) -> NDArray[np.int64]:
        """-> (C,) bytes per row of each mask's box."""
        return packed_strides(self.boxes)

    def offsets(self) -> NDArray[np.int64]:
        """-> (C + 1,) index of each mask's first byte, and the number of all bytes."""
        return packed_offsets(self.boxes)

    def unpack(self) -> BoxedMasks:
        """-> boxed masks."""
        pieces = np.split(self.bits, self.offsets()[1:-1])
        crops: list[Mask] = []
        for piece, stride, (y0, x0, y1, x1) in zip(pieces, self.strides(), self.boxes, strict=True):
            rows = np.unpackbits(piece.reshape(y1 - y0, stride), axis=1, count=int(x1 - x0), bitorder="little")
            crops.append(rows.view(bool))
        return BoxedMasks(self.shape, self.boxes, crops)

    def _has_stray_bits(self) -> bool:
        heights, widths = (self.boxes[:, 2:] - self.boxes[:, :2]).T
        heights, used = np.where(widths > 0, heights, 0), widths % 8
        last_bytes = np.cumsum(np.repeat(self.strides(), heights)) - 1  # of each row
        unused = np.where(used > 0, 0xFF << used & 0xFF, 0).astype(np.uint8)
        return bool((self.bits[last_bytes] & np.repeat(unused, heights)).any())


def packed_strides(boxes: NDArray[np.int32]) -> NDArray[np.int64]:
    """(C, 4) boxes -> (C,) bytes per row of each box."""
    return ((boxes[:, 3] - boxes[:, 1] + 7) // 8).astype(np.int64)


def packed_offsets(boxes: NDArray[np.int32]) -> NDArray[np.int64]:
    """(C, 4) boxes -> (C + 1,) index of each box's first byte, and the number of all bytes."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(packed_strides(boxes) * (boxes[:, 2] - boxes[:, 0]))])
