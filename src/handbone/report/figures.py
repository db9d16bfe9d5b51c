"""Pictures of images: truth and prediction drawn on one, and files of pictures as addresses of a page."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import UInt8Image
from handbone.masks.boxed import BoxedMasks, Mask
from handbone.masks.runs import RunLengthMasks

Colour = tuple[int, int, int]
Part = tuple[slice, slice]

# Blue and orange, which also the colour-blind tell apart. The two add up to white, so outlines that agree are white.
TRUTH_RGB: Colour = (0, 150, 255)
PREDICTED_RGB: Colour = (255, 105, 0)
ERROR_TINT = 0.5
MAX_LABELS = 3
LABEL_BELOW = 0.8  # Dice
FONT_SCALE = 0.45  # OpenCV's: capitals of about 10 pixels
QUALITY = 75  # of JPEG
LABEL_MIN_SIDE = 320  # pixels of the longer side; a smaller picture has no room for names


def overlay(image: UInt8Image, truth: BoxedMasks, predicted: BoxedMasks, classes: Sequence[str], longest: int = 640) -> UInt8Image:
    """Truth and prediction of one (H, W) image -> (h, w, 3) RGB, the longer side at most `longest` pixels.

    image: (H, W) or (H, W, 3) RGB, or the same image at any other size; classes: C names of the C masks.
    Outlines: truth blue, prediction orange, both white. Areas: missed truth blue, prediction without truth orange.
    The few classes with the lowest Dice are labelled beside their masks.
    """
    scale = min(1.0, longest / max(truth.shape))
    height, width = (max(1, round(side * scale)) for side in truth.shape)
    canvas = scaled(image, height, width).astype(np.float32)
    for masks, others, colour in [(truth, predicted, TRUTH_RGB), (predicted, truth, PREDICTED_RGB)]:
        _tint(canvas, only_in(masks, others), colour)
    _draw_outlines(canvas, truth, predicted)
    picture = canvas.round().astype(np.uint8)
    if max(height, width) >= LABEL_MIN_SIDE:
        _label_worst(picture, truth, predicted, classes)
    return picture


def jpeg_data_uri(rgb: UInt8Image) -> str:
    """(h, w, 3) RGB -> a JPEG as a `data:` address."""
    encoded, file = cv2.imencode(".jpeg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not encoded:
        raise ValueError(f"expected an (h, w, 3) uint8 picture, found {rgb.shape} {rgb.dtype}, which OpenCV cannot write as JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(file.tobytes()).decode()}"


def scaled(image: UInt8Image, height: int, width: int) -> UInt8Image:
    """A picture of another size: (H, W) or (H, W, 3) -> (height, width, 3)."""
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized if resized.ndim == 3 else cv2.cvtColor(resized, cv2.COLOR_GRAY2RGB), np.uint8)


def only_in(masks: BoxedMasks, others: BoxedMasks) -> UInt8Image:
    """C masks and C others -> (H, W), 1 where any class of `masks` has a pixel that the same class of `others` does not have, else 0."""
    plane = np.zeros(masks.shape, np.uint8)
    for (y0, x0, y1, x1), rest in zip(masks.boxes, remainders(masks, others), strict=True):
        plane[y0:y1, x0:x1] |= rest.view(np.uint8)
    return plane


def remainders(masks: BoxedMasks, others: BoxedMasks) -> Iterator[Mask]:
    """C masks and C others -> the crop of each mask without the pixels that the same class of `others` has."""
    for box, crop, other_box, other in zip(masks.boxes, masks.crops, others.boxes, others.crops, strict=True):
        rest = crop.copy()
        for part, taken in common_parts(box, other_box):
            rest[part] &= ~other[taken]
        yield rest


def common_parts(box: NDArray[np.int32], other: NDArray[np.int32]) -> Iterator[tuple[Part, Part]]:
    """Two boxes (y0, x0, y1, x1) -> what they share, as slices of a crop of each; nothing if they are apart."""
    y0, x0 = np.maximum(box[:2], other[:2])
    y1, x1 = np.minimum(box[2:], other[2:])
    if y0 < y1 and x0 < x1:
        first, second = ((slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)) for y, x in (box[:2], other[:2]))
        yield first, second


def _tint(canvas: NDArray[np.float32], wrong: UInt8Image, colour: Colour) -> None:
    """Mix `colour` into (h, w, 3) by the share of each pixel that (H, W) `wrong` covers."""
    height, width = canvas.shape[:2]
    share = cv2.resize(wrong * np.uint8(255), (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    canvas += ERROR_TINT * share * (np.array(colour, np.float32) - canvas)


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
        sixteenths = [(((polygon + 0.5) * scale - 0.5) * 16).round().astype(np.int32) for polygon in corners]
        cv2.polylines(plane, sixteenths, True, (255,), 1, cv2.LINE_AA, shift=4)
    return plane


def _label_worst(picture: UInt8Image, truth: BoxedMasks, predicted: BoxedMasks, classes: Sequence[str]) -> None:
    """Write the names of the few worst classes beside their masks on (h, w, 3)."""
    total = (truth.areas() + predicted.areas()).astype(float)
    shared = RunLengthMasks.from_boxed(truth).intersections(RunLengthMasks.from_boxed(predicted))
    dice = np.divide(2 * shared, total, out=np.ones_like(total), where=total > 0)
    worst = [index for index in np.argsort(dice, kind="stable")[:MAX_LABELS] if dice[index] < LABEL_BELOW]
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
