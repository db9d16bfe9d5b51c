"""Masks drawn on their picture, for people to look at."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from handbone.cache.resize import UInt8Image
from handbone.masks.runs import RunLengthMasks

LONGEST = 1280  # pixels of the longer side
TINT = 0.35
SHIFT = 4  # bits of a pixel's fraction in OpenCV's drawing
GOLDEN = 0.618034  # of the circle of hues: classes that follow each other get hues far apart
FONT_SCALE = 0.4
LABEL_MIN_SIDE = 320  # pixels of the longer side; a smaller picture has no room for names


def overlay(picture: UInt8Image, masks: RunLengthMasks, classes: Sequence[str]) -> UInt8Image:
    """Draw each class in a colour of its own: its area as a tint, its outline, and its name in the middle of its box.

    picture: (h, w) or (h, w, 3) RGB, of any size; masks: C masks at the full resolution of the same picture. -> (h, w, 3) RGB.
    """
    canvas = np.array(picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8)
    scale = np.array([canvas.shape[1] / masks.shape[1], canvas.shape[0] / masks.shape[0]])  # x, y
    labels = []
    for index, (name, mask) in enumerate(zip(classes, masks.one_by_one(), strict=True)):
        boxed = mask.boxed()
        (box,), (crop,) = boxed.boxes, boxed.crops
        if crop.size:
            contours, _ = cv2.findContours(crop.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
            points = [((contour + box[1::-1] + 0.5) * scale - 0.5) * 2**SHIFT for contour in contours]
            _draw(canvas, [polygon.round().astype(np.int32) for polygon in points], _colour(index))
            # OpenCV's font has ASCII only; any other name is shown as its number
            labels.append((name if name.isascii() else f"class {index}", (box[[1, 0]] + box[[3, 2]]) / 2 * scale))
    for text, centre in labels if max(canvas.shape) >= LABEL_MIN_SIDE else []:
        _write(canvas, text, centre)
    return canvas


def _colour(index: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN % 1, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _draw(canvas: UInt8Image, polygons: Sequence[np.ndarray], colour: tuple[int, int, int]) -> None:
    """Tint the inside of polygons (holes stay), and draw their outlines. Points are in 1 / 2**SHIFT of a pixel."""
    filled = canvas.copy()
    cv2.fillPoly(filled, polygons, colour, cv2.LINE_AA, SHIFT)
    cv2.addWeighted(filled, TINT, canvas, 1 - TINT, 0, dst=canvas)
    cv2.polylines(canvas, polygons, True, colour, 1, cv2.LINE_AA, SHIFT)


def _write(canvas: UInt8Image, text: str, centre: np.ndarray) -> None:
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, FONT_SCALE, 1)
    corner = round(float(centre[0]) - width / 2), round(float(centre[1]) + height / 2)
    for colour, thickness in [((0, 0, 0), 3), ((255, 255, 255), 1)]:  # a dark rim keeps white letters legible on bone
        cv2.putText(canvas, text, corner, cv2.FONT_HERSHEY_SIMPLEX, FONT_SCALE, colour, thickness, cv2.LINE_AA)
