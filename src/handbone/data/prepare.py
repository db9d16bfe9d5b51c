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
from handbone.data.packed import PackedMasks
from handbone.data.raster import paint
from handbone.data.resize import shrink
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
        masks = PackedMasks.pack(paint(polygons, shape))
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
