"""Polygons -> masks at full resolution, exactly as OpenCV 4.10 paints them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.masks.boxed import BoxedMasks, Mask

Polygon = NDArray[np.int32]
"""(n, 2) points x, y in pixels."""
RASTERIZER = f"OpenCV {cv2.__version__}"


def rasterize(polygons: Sequence[Sequence[Polygon]], shape: tuple[int, int]) -> BoxedMasks:
    """C lists of polygons inside an (H, W) image -> C masks, each the union of its polygons."""
    painted = [_paint_class(of_class) for of_class in polygons]
    return BoxedMasks.from_crops(shape, [corner for corner, _ in painted], [crop for _, crop in painted])


def _paint_class(polygons: Sequence[Polygon]) -> tuple[tuple[int, int], Mask]:
    """-> y, x of the union's box, and its content."""
    if not polygons:
        return (0, 0), np.zeros((0, 0), bool)
    points = np.concatenate(polygons)
    x0, y0 = points.min(0).tolist()
    width, height = (points.max(0) - (x0, y0) + 1).tolist()
    crop = np.zeros((height, width), np.uint8)
    for polygon in polygons:  # one call per polygon: given all of them, fillPoly leaves a hole where two overlap
        cv2.fillPoly(crop, [polygon], (1,), offset=(-x0, -y0))
    return (y0, x0), crop.view(bool)
