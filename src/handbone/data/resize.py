"""Images to the size of the cache and of the network: averaged over areas, so that centres stay aligned."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def shrink(image: Image, size: int) -> Image:
    """The image with its longer side at most `size` pixels (0: as it is), averaged over areas, so centres stay aligned."""
    shape = scaled_shape((image.shape[0], image.shape[1]), size)
    return image if shape == image.shape[:2] else np.asarray(cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def scaled_shape(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """(H, W) scaled so that the longer side is at most `size` pixels (0: unchanged)."""
    longer = max(shape)
    if not size or longer <= size:
        return shape
    return max(1, round(shape[0] * size / longer)), max(1, round(shape[1] * size / longer))
