"""Polygons -> masks at full resolution, exactly as OpenCV 4.10 paints them, and masks -> coverage at the network's size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.data.annotation import Polygon
from handbone.data.masks import BoxedMasks, Mask

PAINTER = f"OpenCV {cv2.__version__}"


def paint(polygons: Sequence[Sequence[Polygon]], shape: tuple[int, int]) -> BoxedMasks:
    """C lists of (n, 2) int32 x, y polygons inside an (H, W) image -> C masks, each the union of its polygons."""
    painted = [_paint_class(own) for own in polygons]
    return BoxedMasks.from_crops(shape, [corner for corner, _ in painted], [crop for _, crop in painted])


def _paint_class(polygons: Sequence[Polygon]) -> tuple[tuple[int, int], Mask]:
    if not polygons:
        return (0, 0), np.zeros((0, 0), bool)
    points = np.concatenate(polygons)
    x0, y0 = points.min(0).tolist()
    width, height = (points.max(0) - (x0, y0) + 1).tolist()
    crop = np.zeros((height, width), np.uint8)
    for polygon in polygons:  # one call each: together fillPoly would leave a hole where two of them overlap
        cv2.fillPoly(crop, [polygon], (1,), offset=(-x0, -y0))
    return (y0, x0), crop.view(bool)


def sample_packed(packed: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, B) packed masks -> (h, w, B), each pixel the mask's value at its centre (INTER_NEAREST would take a corner)."""
    rows, columns = (_centres(full, small) for full, small in zip(packed.shape, shape, strict=False))
    return packed if packed.shape[:2] == shape else packed[rows[:, None], columns]


def _centres(full: int, small: int) -> NDArray[np.intp]:
    """The source index under the centre of each of `small` cells that divide `full` pixels."""
    return ((np.arange(small) * 2 + 1) * full // (2 * small)).astype(np.intp)


def coverage(packed: NDArray[np.uint8], classes: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, B) packed masks -> (C, h, w) uint8, the share of each low-resolution pixel inside the mask, 255 for all of it."""
    shares = np.zeros((classes, *shape), np.uint8)
    for index, share in enumerate(shares):
        plane = packed[..., index // 8] & np.uint8(1 << index % 8)
        if plane.any():
            cv2.resize(np.where(plane, np.uint8(255), np.uint8(0)), shape[::-1], dst=share, interpolation=cv2.INTER_AREA)
    return shares
