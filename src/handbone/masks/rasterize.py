"""Polygons -> masks at full resolution, exactly as OpenCV 4.10 paints them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from handbone.dataset.annotation import Polygon
from handbone.masks.boxed import BoxedMasks, Mask

PAINTER = f"OpenCV {cv2.__version__}"


def rasterize(polygons: Sequence[Sequence[Polygon]], shape: tuple[int, int]) -> BoxedMasks:
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
