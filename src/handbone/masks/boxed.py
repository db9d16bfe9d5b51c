"""Multi-label masks as boxes and crops: the form in which polygons are painted and pictures are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
BOXES_BYTES = 2**20  # of the boxes in a file: 65,536 classes


def check_boxes(shape: tuple[int, int], boxes: NDArray[np.int32]) -> None:
    """A ValueError unless `boxes` are (C, 4) int32 rows of y0, x0, y1, x1 inside of the (H, W) image: kernels index by them, unchecked."""
    if boxes.dtype != np.int32 or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes of {boxes.dtype} {boxes.shape}, not int32 (C, 4)")
    height, width = shape
    for index, (y0, x0, y1, x1) in enumerate(boxes.tolist()):  # for some dozen boxes faster than NumPy
        if not (0 <= y0 <= y1 <= height and 0 <= x0 <= x1 <= width):
            raise ValueError(f"box {index} from {y0}, {x0} to {y1}, {x1}, not inside of {height} x {width} pixels")


@dataclass(frozen=True)
class BoxedMasks:
    """C masks of one (H, W) image, each cropped to its bounding box.

    boxes: (C, 4) int32 rows of y0, x0, y1, x1 in pixels, ends exclusive; all zero for an empty mask.
    crops: C bool arrays, each in its box's shape.
    """

    shape: tuple[int, int]
    boxes: NDArray[np.int32]
    crops: Sequence[Mask]

    def __post_init__(self) -> None:
        """A ValueError if a box is not inside of the image, or a crop is not of its box's shape."""
        check_boxes(self.shape, self.boxes)
        if [crop.shape for crop in self.crops] != list(map(tuple, (self.boxes[:, 2:] - self.boxes[:, :2]).tolist())):
            raise ValueError("crops that do not have the shapes of their boxes")

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

    def union(self) -> Mask:
        """-> (H, W), the pixels in any mask."""
        plane = np.zeros(self.shape, bool)
        for (y0, x0, y1, x1), crop in zip(self.boxes, self.crops, strict=True):
            plane[y0:y1, x0:x1] |= crop
        return plane

    def only(self, classes: Sequence[int]) -> BoxedMasks:
        """-> the masks of these classes, in their order."""
        return BoxedMasks(self.shape, self.boxes[list(classes)], [self.crops[index] for index in classes])

    def without(self, others: BoxedMasks) -> BoxedMasks:
        """C masks and C others of the image -> the C masks, each without the pixels of the other mask of its class."""
        rests = [crop.copy() for crop in self.crops]
        for rest, box, other_box, other in zip(rests, self.boxes, others.boxes, others.crops, strict=True):
            y0, x0 = np.maximum(box[:2], other_box[:2])
            y1, x1 = np.minimum(box[2:], other_box[2:])
            if y0 < y1 and x0 < x1:
                here, there = ((slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)) for y, x in (box[:2], other_box[:2]))
                rest[here] &= ~other[there]
        return BoxedMasks.from_crops(self.shape, [(y0, x0) for y0, x0, _, _ in self.boxes.tolist()], rests)

    def transposed(self) -> BoxedMasks:
        """-> the C masks of the (W, H) image, x and y exchanged."""
        crops = [np.ascontiguousarray(crop.T) for crop in self.crops]
        return BoxedMasks((self.shape[1], self.shape[0]), np.ascontiguousarray(self.boxes[:, [1, 0, 3, 2]]), crops)

    def disjoint(self) -> BoxedMasks:
        """-> the C masks without overlaps: a pixel of several masks belongs to the last of them, as if they were painted in order."""
        painted = np.zeros(self.shape, np.int32)
        places = [(slice(y0, y1), slice(x0, x1)) for y0, x0, y1, x1 in self.boxes.tolist()]
        for number, (place, crop) in enumerate(zip(places, self.crops, strict=True), start=1):
            painted[place][crop] = number
        crops = [painted[place] == number for number, place in enumerate(places, start=1)]
        return BoxedMasks.from_crops(self.shape, [(y0, x0) for y0, x0, _, _ in self.boxes.tolist()], crops)

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
