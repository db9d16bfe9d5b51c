"""What is drawn in one image: its polygons, and where each class is and how large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.masks.rasterize import Polygon

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
"""Points of the plane, x + i·y: turning, scaling and shifting them is a·z + b, and mirroring is the conjugate."""
Bools = NDArray[np.bool_]
GRID = 64  # side of the raster in which the area and the centre of a class are measured, whatever its size
SHIFT = 4  # bits of a pixel's fraction in OpenCV's drawing


@dataclass(frozen=True)
class Drawing:
    """The annotation of one image. shape: H, W; polygons: C lists of (n, 2) points in pixels."""

    key: str
    shape: tuple[int, int]
    polygons: Sequence[Sequence[Polygon]]


@dataclass(frozen=True)
class Measures:
    """centres: (N, C) in pixels; log_areas: (N, C) logarithms of pixels; both NaN where a class is absent. pieces: (N, C) polygons."""

    centres: Complexes
    log_areas: Floats
    pieces: NDArray[np.int64]


def measure(drawings: Sequence[Drawing]) -> Measures:
    """Measure each class of each image, from rasters of at most GRID x GRID pixels."""
    found = [[centre_and_area(polygons) for polygons in drawing.polygons] for drawing in drawings]
    centres = np.array([[centre for centre, _ in of_image] for of_image in found], np.complex128)
    areas = np.array([[area for _, area in of_image] for of_image in found], np.float64)
    pieces = np.array([[len(polygons) for polygons in drawing.polygons] for drawing in drawings], np.int64)
    return Measures(centres, np.log(areas), pieces)


def centre_and_area(polygons: Sequence[Polygon]) -> tuple[complex, float]:
    """Centre (pixels) and area (square pixels) of the union of polygons; NaN if there is none."""
    if not polygons:
        return complex(np.nan, np.nan), np.nan
    low, scale = frame(polygons)
    moments = cv2.moments(paint((GRID, GRID), [(polygon - low) * scale for polygon in polygons]), binaryImage=True)
    centre = np.array([moments["m10"], moments["m01"]]) / moments["m00"] / scale + low
    return complex(*centre), moments["m00"] / scale**2


def frame(polygons: Sequence[Polygon]) -> tuple[Floats, float]:
    """The corner x, y of the polygons' box, and the scale at which the box fills a raster of GRID x GRID pixels."""
    points = np.concatenate(polygons)
    low = points.min(0).astype(np.float64)
    return low, (GRID - 1) / max(1, int((points.max(0) - low).max()))


def paint(shape: tuple[int, int], polygons: Sequence[Floats]) -> NDArray[np.uint8]:
    """-> (H, W), 1 inside any of the (n, 2) polygons, given in pixels of this raster, else 0."""
    mask = np.zeros(shape, np.uint8)
    for polygon in polygons:  # one call per polygon: given all of them, fillPoly leaves a hole where two overlap
        cv2.fillPoly(mask, [np.rint(polygon * (1 << SHIFT)).astype(np.int32)], (1,), cv2.LINE_8, SHIFT)
    return mask
