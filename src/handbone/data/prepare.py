"""One sample of the data set, checked and brought into the cache's form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.data.annotation import read_polygons
from handbone.data.cache import CachedSample
from handbone.data.layout import Sample
from handbone.data.raster import paint
from handbone.errors import Problem

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Recipe:
    """What decides a cached sample: the classes, whether some may be absent, the longer side in pixels (0: native), 1 or 3 channels."""

    classes: Sequence[str]
    allow_missing: bool
    size: int
    channels: int


def prepare(sample: Sample, recipe: Recipe) -> CachedSample | list[Problem]:
    """The sample as the cache keeps it, or everything that is wrong with its files."""
    image = read_image(sample.image, recipe.channels)
    if image is None:
        fix = "replace the file, or name the sample in data.exclude"
        return [Problem(str(sample.image), "an image that OpenCV can decode", "none", fix)]
    shape = (image.shape[0], image.shape[1])
    masks = None
    if sample.annotation is not None:
        polygons, problems = read_polygons(sample.annotation, recipe.classes, shape, recipe.allow_missing)
        if problems:
            return problems
        masks = paint(polygons, shape)
    return CachedSample(shrink(image, recipe.size), shape, masks)


def read_image(path: Path, channels: int) -> Image | None:
    """(H, W) uint8, or (H, W, 3) RGB where 3 channels are asked for and differ; None if the file cannot be decoded."""
    encoded = np.fromfile(path, np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if len(encoded) else None
    if image is None:
        return None
    blue, green, red = cv2.split(image)
    if np.array_equal(blue, green) and np.array_equal(green, red):
        return np.asarray(blue, np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGR2GRAY), np.uint8)


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
