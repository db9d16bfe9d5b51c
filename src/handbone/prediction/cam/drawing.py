"""A heat map over its image, with the outlines of truth and prediction."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import UInt8Image, scaled_rgb
from handbone.evaluation.overlay import PREDICTED_RGB, TRUTH_RGB
from handbone.masks.boxed import BoxedMasks

LONGEST = 640  # pixels of the longer side
OPAQUE = 0.65  # of the hottest place
OUTLINE = 2  # pixels
SHIFT = 4  # bits of a pixel's fraction in OpenCV's drawing


def draw_heat(image: UInt8Image, heat: NDArray[np.float32], truth: BoxedMasks | None, predicted: BoxedMasks) -> UInt8Image:
    """Draw the heat, more opaque where it is hotter, and the outlines above it -> (h, w, 3) RGB.

    image: (h, w) or (h, w, 3) RGB, of any size; heat: 0..1, of any size; truth, predicted: the one mask of the class at full resolution.
    """
    factor = LONGEST / max(predicted.shape)
    height, width = (max(1, round(side * factor)) for side in predicted.shape)
    canvas = scaled_rgb(image, height, width).astype(np.float32)
    shown = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    coloured = cv2.cvtColor(cv2.applyColorMap((shown * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    canvas += OPAQUE * shown[..., None] * (coloured - canvas)
    picture = canvas.round().astype(np.uint8)
    for masks, colour in ((truth, TRUTH_RGB), (predicted, PREDICTED_RGB)):
        if masks is not None:
            _outline(picture, masks, colour)
    return picture


def _outline(picture: UInt8Image, masks: BoxedMasks, colour: tuple[int, int, int]) -> None:
    scale = np.array(picture.shape[1::-1]) / np.array(masks.shape[::-1])  # x, y
    for (y0, x0, _, _), crop in zip(masks.boxes, masks.crops, strict=True):
        if crop.size:
            contours, _ = cv2.findContours(crop.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE, offset=(int(x0), int(y0)))
            points = [(((contour + 0.5) * scale - 0.5) * 2**SHIFT).round().astype(np.int32) for contour in contours]
            for line, width in (((0, 0, 0), OUTLINE + 2), (colour, OUTLINE)):  # the dark rim keeps a line apart from any heat
                cv2.polylines(picture, points, True, line, width, cv2.LINE_AA, SHIFT)
