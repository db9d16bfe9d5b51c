"""Truth and prediction drawn on their image, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import UInt8Image, scaled_rgb, scaled_shape
from handbone.evaluation.dice import count, dice
from handbone.masks.boxed import BoxedMasks, Mask
from handbone.masks.runs import RunLengthMasks

Colour = tuple[int, int, int]

# Blue and orange, which also the colour-blind tell apart. The two add up to white, so outlines that agree are white.
TRUTH_RGB: Colour = (0, 150, 255)
PREDICTED_RGB: Colour = (255, 105, 0)
ERROR_TINT = 0.5
SHIFT = 4  # bits of a pixel's fraction in OpenCV's drawing
MAX_LABELS = 3
LABEL_BELOW = 0.8  # Dice
FONT_SCALE = 0.45  # OpenCV's: capitals of about 10 pixels
LABEL_MIN_SIDE = 320  # pixels of the longer side; a smaller picture has no room for names


def overlay(image: UInt8Image, truth: BoxedMasks, predicted: BoxedMasks, classes: Sequence[str], longest: int) -> UInt8Image:
    """Truth and prediction of one (H, W) image -> (h, w, 3) RGB, the longer side at most `longest` pixels.

    image: (H, W) or (H, W, 3) RGB, or the same image at any other size; classes: C names of the C masks.
    Outlines: truth blue, prediction orange, both white. Areas: missed truth blue, prediction without truth orange.
    The few classes with the lowest Dice are labelled beside their masks.
    """
    height, width = scaled_shape(truth.shape, longest)
    canvas = scaled_rgb(image, height, width).astype(np.float32)
    for masks, others, colour in [(truth, predicted, TRUTH_RGB), (predicted, truth, PREDICTED_RGB)]:
        _tint(canvas, masks.without(others).union(), colour)
    _draw_outlines(canvas, truth, predicted)
    picture = canvas.round().astype(np.uint8)
    if max(height, width) >= LABEL_MIN_SIDE:
        _label_worst(picture, truth, predicted, classes)
    return picture


def _tint(canvas: NDArray[np.float32], wrong: Mask, colour: Colour) -> None:
    """Mix `colour` into (h, w, 3) by the share of each pixel that (H, W) `wrong` covers."""
    height, width = canvas.shape[:2]
    share = cv2.resize(wrong.view(np.uint8) * np.uint8(255), (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    canvas += ERROR_TINT * share[..., None] * (np.array(colour, np.float32) - canvas)


def _draw_outlines(canvas: NDArray[np.float32], truth: BoxedMasks, predicted: BoxedMasks) -> None:
    """Draw both sets of outlines on (h, w, 3); where they meet, their colours add up."""
    lines = [_outlines(masks, canvas.shape[:2]).astype(np.float32)[..., None] / 255 for masks in (truth, predicted)]
    canvas *= 1 - np.maximum(*lines)
    for line, colour in zip(lines, (TRUTH_RGB, PREDICTED_RGB), strict=True):
        canvas += line * np.array(colour, np.float32)
    np.clip(canvas, 0, 255, out=canvas)


def _outlines(masks: BoxedMasks, size: tuple[int, ...]) -> UInt8Image:
    """Every class's contours, holes too, as smooth lines of 255 in an (h, w) plane."""
    plane = np.zeros(size, np.uint8)
    scale = np.array([size[1] / masks.shape[1], size[0] / masks.shape[0]])  # x, y
    for (y0, x0, _, _), crop in zip(masks.boxes, masks.crops, strict=True):
        if not crop.size:
            continue
        contours, _ = cv2.findContours(crop.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE, offset=(int(x0), int(y0)))
        # Fewer corners first: hundreds of segments shorter than a pixel would add up to a thick, ragged line.
        corners = [cv2.approxPolyDP(contour, 0.35 / scale.max(), True) for contour in contours]
        # clipped: a line half a pixel beyond the border would be faint
        points = [np.clip((polygon + 0.5) * scale - 0.5, 0, (size[1] - 1, size[0] - 1)) * 2**SHIFT for polygon in corners]
        cv2.polylines(plane, [polygon.round().astype(np.int32) for polygon in points], True, (255,), 1, cv2.LINE_AA, SHIFT)
    return plane


def _label_worst(picture: UInt8Image, truth: BoxedMasks, predicted: BoxedMasks, classes: Sequence[str]) -> None:
    """Write the names of the few worst classes beside their masks on (h, w, 3)."""
    scores = dice(count(RunLengthMasks.from_boxed(predicted), RunLengthMasks.from_boxed(truth)))
    worst = [index for index in np.argsort(scores, kind="stable")[:MAX_LABELS] if scores[index] < LABEL_BELOW]
    boxes = np.where(truth.areas()[:, None] > 0, truth.boxes, predicted.boxes) * (picture.shape[0] / truth.shape[0])
    lowest = 0.0
    for index in sorted(worst, key=lambda index: boxes[index, [0, 2]].mean()):
        y0, _, y1, x1 = boxes[index]
        lowest = max((y0 + y1) / 2 + 4, lowest + 16)  # 16 pixels per line, so that no name covers another
        # OpenCV's font has ASCII only; any other name is shown as its number in params.yaml.
        _write_label(picture, classes[index] if classes[index].isascii() else f"class {index}", x1 + 4, lowest)


def _write_label(picture: UInt8Image, text: str, x: float, y: float) -> None:
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, FONT_SCALE, 1)
    corner = (round(max(2, min(x, picture.shape[1] - width - 2))), round(min(y, picture.shape[0] - 4)))
    for colour, thickness in [((0, 0, 0), 3), ((255, 255, 255), 1)]:  # a dark rim keeps white letters legible on bone
        cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, FONT_SCALE, colour, thickness, cv2.LINE_AA)
