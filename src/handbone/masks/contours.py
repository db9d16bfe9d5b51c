"""Masks -> polygons that OpenCV 4.10 paints as exactly these masks."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from handbone.masks.boxed import Mask
from handbone.masks.rasterize import Polygon


def exact_polygons(mask: Mask) -> list[Polygon]:
    """(H, W) bool -> polygons whose union, painted one by one, is the mask to the pixel.

    `fillPoly` paints a polygon with its outline, so the outer contour of a component without holes repaints it. A mask with holes is cut
    between two rows at each hole first: then every hole is open to one side of its strip. A component of one pixel or one line gives a
    polygon without area, which is painted as that pixel or line.
    """
    polygons = []
    rows = [0, *_cuts(mask), len(mask)]
    for top, bottom in pairwise(rows):
        strip = np.ascontiguousarray(mask[top:bottom]).view(np.uint8)
        contours, _ = cv2.findContours(strip, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(0, top))
        polygons += [contour.reshape(-1, 2).astype(np.int32) for contour in contours]
    return polygons


def _cuts(mask: Mask) -> list[int]:
    """The fewest rows before which to cut so that no strip has a hole, rising."""
    background = np.pad(~mask, 1, constant_values=True).view(np.uint8)
    # a component touches its neighbours at corners too, so the background does not
    _, components, stats, _ = cv2.connectedComponentsWithStats(background, connectivity=4)
    holes = np.delete(stats, [0, components[0, 0]], axis=0)  # 0: the mask itself; the corner is outside
    cuts: list[int] = []
    for top, bottom in sorted(zip(holes[:, 1] - 1, holes[:, 1] + holes[:, 3] - 1, strict=True), key=lambda rows: int(rows[1])):
        if not cuts or cuts[-1] < top:  # a cut before row r opens each hole that has the row r, or ends above it
            cuts.append(int(bottom))
    return cuts
