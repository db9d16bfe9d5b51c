"""A picture of what the network is trained on: a sample without augmentation and several augmented versions, each with its target."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import UInt8Image, resized, scaled_shape
from handbone.cache.sample import CachedSample
from handbone.masks.coverage import coverage
from handbone.masks.cropped_maps import CroppedMaps
from handbone.training.data.augment import Augmenter

CELL_SIDE = 288  # pixels: the longer side of one version
GAP, GAP_GREY = 3, 128  # width in pixels and grey level of the gap between two versions: visible on a light and on a dark page
TARGET_TINT = 0.15
HUE_STEP = 0.618  # golden ratio, as a share of the colour circle: classes that are neighbours in the list get different hues


def preview_strip(
    sample: CachedSample, augmenter: Augmenter, size: int, seeds: Sequence[int], mirrored: Sequence[int] | None = None
) -> UInt8Image:
    """The sample at the network's `size` (longer side, pixels), then one augmented version per seed, side by side -> (h, w, 3) RGB.

    Each class of the target has a hue: a tint as strong as the coverage, and a line where the coverage is one half.
    mirrored: as in `coverage`.

    Raises `ValueError` for a sample of the test set.
    """
    image = resized(sample.image, scaled_shape(sample.shape, size))
    shape = (image.shape[0], image.shape[1])
    cells = [draw_target(image, coverage(sample.truth, shape))]
    for seed in seeds:
        augmented, inverse_warp = augmenter(image, seed)
        cells.append(draw_target(augmented, coverage(sample.truth, shape, inverse_warp, mirrored=mirrored)))
    gap = np.full((cells[0].shape[0], GAP, 3), GAP_GREY, np.uint8)
    return np.hstack([part for cell in cells for part in (gap, cell)][1:])


def draw_target(image: UInt8Image, target: CroppedMaps) -> UInt8Image:
    """(h, w) or (h, w, 3) RGB under the coverage of its C classes -> (h', w', 3) RGB, `CELL_SIDE` pixels on the longer side."""
    factor = CELL_SIDE / max(image.shape[:2])
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(image, (width, height), interpolation=method))
    canvas = (scaled if scaled.ndim == 3 else cv2.merge([scaled] * 3)).astype(np.float32)
    for index, plane in enumerate(target.dense()):
        share = np.asarray(cv2.resize(plane, (width, height), interpolation=method))
        _blend(canvas, share, np.array(colorsys.hsv_to_rgb(index * HUE_STEP % 1, 0.9, 1.0), np.float32) * 255)
    return canvas.round().astype(np.uint8)


def _blend(canvas: NDArray[np.float32], share: UInt8Image, colour: NDArray[np.float32]) -> None:
    """Mix the colour into (h, w, 3) by the (h, w) coverage `share` (255: the whole pixel), and draw the line of one half."""
    canvas += TARGET_TINT / 255 * share[..., None].astype(np.float32) * (colour - canvas)
    contours, _ = cv2.findContours((share > 127).view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    line = np.zeros(share.shape, np.uint8)
    cv2.polylines(line, contours, True, (255,), 1, cv2.LINE_AA)
    canvas += line[..., None].astype(np.float32) / 255 * (colour - canvas)
