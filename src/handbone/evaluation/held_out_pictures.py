"""Pictures of a few held-out images with truth and prediction, to watch a network learn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from torch import nn

from handbone.cache.resize import UInt8Image, resized, scaled_shape
from handbone.cache.sample import read_image, read_masks
from handbone.evaluation.decision import Decision, decide
from handbone.inference.predictor import InputSpec, from_model, predict
from handbone.inference.sliding_window import windowed
from handbone.masks.runs import RunLengthMasks

COUNT = 4  # images
LONGEST = 768  # pixels of a picture's longer side
SHIFT = 4  # bits of a pixel's fraction in OpenCV's drawing
TRUTH, PREDICTED, BOTH = (0, 150, 255), (255, 105, 0), (255, 255, 255)  # RGB of outlines, the first two as on the report's page


def held_out_pictures(
    model: nn.Module, files: Mapping[str, Path], inputs: InputSpec, window: int | None, decision: Decision
) -> dict[str, UInt8Image]:
    """Pictures (h, w, 3) RGB by key of at most `COUNT` images, always the same of `files`, with the outlines of truth and prediction.

    Truth is blue, the prediction orange, and white where both are. The arguments are those of `model_dice`, which says more.
    """
    keys = sorted(files)
    chosen = {keys[index]: files[keys[index]] for index in np.linspace(0, len(keys) - 1, min(COUNT, len(keys))).round().astype(int)}
    predictor = from_model(model if window is None else windowed(model, window, window // 2), decision.exclusive)
    pictures = {}
    for key, maps in predict(predictor, chosen, inputs):
        image, shape = read_image(chosen[key])
        pictures[key] = _outlined(image, RunLengthMasks.from_packed(read_masks(chosen[key])), decide([maps], shape, decision))
    return pictures


def _outlined(image: UInt8Image, truth: RunLengthMasks, predicted: RunLengthMasks) -> UInt8Image:
    small = resized(image, scaled_shape((image.shape[0], image.shape[1]), LONGEST))
    canvas = np.array(small if small.ndim == 3 else cv2.cvtColor(small, cv2.COLOR_GRAY2RGB), np.uint8)
    true, found = (_outlines(masks, (canvas.shape[0], canvas.shape[1])) for masks in (truth, predicted))
    for pixels, colour in [(true & ~found, TRUTH), (found & ~true, PREDICTED), (true & found, BOTH)]:
        canvas[pixels] = colour
    return canvas


def _outlines(masks: RunLengthMasks, size: tuple[int, int]) -> np.ndarray:
    """The outlines of C masks as (h, w) bool, at another size than theirs."""
    canvas = np.zeros(size, np.uint8)
    scale = np.array([size[1] / masks.shape[1], size[0] / masks.shape[0]])  # x, y
    for mask in masks.one_by_one():
        boxed = mask.boxed()
        (box,), (crop,) = boxed.boxes, boxed.crops
        if crop.size:
            contours, _ = cv2.findContours(crop.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            # clipped, as half a pixel beyond the border would not be drawn
            points = [np.clip((contour + box[1::-1] + 0.5) * scale - 0.5, 0, (size[1] - 1, size[0] - 1)) * 2**SHIFT for contour in contours]
            cv2.polylines(canvas, [point.round().astype(np.int32) for point in points], True, (1,), 1, cv2.LINE_8, SHIFT)
    return canvas.astype(bool)
