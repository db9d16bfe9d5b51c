"""Resizing of images by area averaging, which keeps pixel centres aligned."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8Image = NDArray[np.uint8]
"""(H, W) or (H, W, 3), 0..255."""


def shrink(image: UInt8Image, size: int | None) -> UInt8Image:
    """The image with its longer side at most `size` pixels (None: unchanged)."""
    return resized(image, scaled_shape((image.shape[0], image.shape[1]), size))


def scaled_shape(shape: tuple[int, int], size: int | None) -> tuple[int, int]:
    """(H, W) scaled so that the longer side is at most `size` pixels (None: unchanged); never enlarged."""
    longer = max(shape)
    if size is None or longer <= size:
        return shape
    return max(1, round(shape[0] * size / longer)), max(1, round(shape[1] * size / longer))


def resized(image: UInt8Image, shape: tuple[int, int]) -> UInt8Image:
    """(H, W) or (H, W, 3) -> (h, w) or (h, w, 3), averaged over areas."""
    return image if image.shape[:2] == shape else np.asarray(cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def scaled_rgb(image: UInt8Image, height: int, width: int) -> UInt8Image:
    """(H, W) or (H, W, 3) RGB -> (height, width, 3) RGB for a picture; enlarged linearly."""
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized if resized.ndim == 3 else cv2.cvtColor(resized, cv2.COLOR_GRAY2RGB), np.uint8)


def channels_first(image: UInt8Image) -> UInt8Image:
    """(h, w) -> (1, h, w), (h, w, 3) -> (3, h, w)."""
    return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
