"""What the network is trained on, as a picture: a sample as it is, and as augmentation draws it, under its target."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import resized, scaled_shape
from handbone.cache.sample import CachedSample
from handbone.masks.coverage import coverage
from handbone.masks.cropped_maps import CroppedMaps
from handbone.training.data.augment import Augmenter

Picture = NDArray[np.uint8]
SIDE = 288  # pixels: the longer side of one draw
GAP, GREY = 3, 128  # pixels between two, and what is there: seen on a light and on a dark page
TINT = 0.15
GOLDEN = 0.618  # of the circle of hues from one class to the next: neighbours in the list differ, and no two are equal


def strip(sample: CachedSample, augmenter: Augmenter, size: int, seeds: Sequence[int]) -> Picture:
    """A sample with masks as it is at the network's `size` (longer side, pixels), then as each seed draws it -> (h, w, 3) RGB.

    Every class of the target has a hue: a tint as strong as its coverage, and a line where that is a half.
    """
    if sample.masks is None:
        raise ValueError("expected a sample with masks; found one of the test set")
    image = resized(sample.image, scaled_shape(sample.shape, size))
    shape = (image.shape[0], image.shape[1])
    cells = [draw_target(image, coverage(sample.masks, shape))]
    for seed in seeds:
        moved, motion = augmenter(image, seed)
        cells.append(draw_target(moved, coverage(sample.masks, shape, motion)))
    gap = np.full((cells[0].shape[0], GAP, 3), GREY, np.uint8)
    return np.hstack([part for cell in cells for part in (gap, cell)][1:])


def draw_target(image: Picture, target: CroppedMaps) -> Picture:
    """(h, w) or (h, w, 3) RGB under the coverage of its C classes -> (h', w', 3) RGB, `SIDE` pixels on the longer side."""
    factor = SIDE / max(image.shape[:2])
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    fitted = np.asarray(cv2.resize(image, (width, height), interpolation=method))
    canvas = (fitted if fitted.ndim == 3 else cv2.merge([fitted] * 3)).astype(np.float32)
    for index, plane in enumerate(planes(target, (image.shape[0], image.shape[1]))):
        share = np.asarray(cv2.resize(plane, (width, height), interpolation=method))
        _lay(canvas, share, np.array(colorsys.hsv_to_rgb(index * GOLDEN % 1, 0.9, 1.0), np.float32) * 255)
    return canvas.round().astype(np.uint8)


def planes(target: CroppedMaps, shape: tuple[int, int]) -> Picture:
    """-> (C, h, w) uint8, 255 for a pixel that is all inside."""
    whole = np.zeros((len(target.boxes), *shape), np.uint8)
    start = 0
    for plane, (y0, x0, y1, x1) in zip(whole, target.boxes, strict=True):
        stop = start + (y1 - y0) * (x1 - x0)
        plane[y0:y1, x0:x1] = target.values[start:stop].reshape(y1 - y0, x1 - x0)
        start = stop
    return whole


def _lay(canvas: NDArray[np.float32], share: Picture, colour: NDArray[np.float32]) -> None:
    """Mix the colour into (h, w, 3) by (h, w) `share`, and draw its half-way line."""
    canvas += TINT / 255 * share[..., None].astype(np.float32) * (colour - canvas)
    contours, _ = cv2.findContours((share > 127).view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    line = np.zeros(share.shape, np.uint8)
    cv2.polylines(line, contours, True, (255,), 1, cv2.LINE_AA)
    canvas += line[..., None].astype(np.float32) / 255 * (colour - canvas)
