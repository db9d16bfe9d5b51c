"""One sample of the data set, checked and brought into the cache's form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import shrink
from handbone.cache.sample import CachedSample
from handbone.dataset.annotation import read_polygons
from handbone.dataset.layout import Sample
from handbone.masks.packed import PackedMasks
from handbone.masks.rasterize import rasterize
from handbone.utils.errors import Problem

Image = NDArray[np.uint8]
TILES = (8, 8)  # of CLAHE, across and down


@dataclass(frozen=True)
class PreprocessSpec:
    """What decides a cached sample: the classes, whether some may be absent, the longer side in pixels (null: native), 1 or 3 channels, CLAHE.

    clahe: how many times the mean of its histogram a grey level may count in a tile, as in OpenCV; null: the image stays as it is.
    """

    classes: Sequence[str]
    allow_missing: bool
    size: int | None
    channels: int
    clahe: float | None = None


def prepare(sample: Sample, recipe: PreprocessSpec) -> CachedSample | list[Problem]:
    """The sample as the cache keeps it, or everything that is wrong with its files."""
    image = read_image(sample.image, recipe.channels)
    if isinstance(image, str):
        fix = "replace the file, or name the sample in data.exclude"
        return [Problem(str(sample.image), "an image that OpenCV can decode, of 8 bits a channel", image, fix)]
    shape = (image.shape[0], image.shape[1])
    masks = None
    if sample.annotation is not None:
        polygons, problems = read_polygons(sample.annotation, recipe.classes, shape, recipe.allow_missing)
        if problems:
            return problems
        masks = PackedMasks.pack(rasterize(polygons, shape))
    # CLAHE before shrinking: so the network sees nearly the same whether the cache shrinks the image or the loader does
    return CachedSample(shrink(equalised(image, recipe.clahe), recipe.size), shape, masks)


def equalised(image: Image, clip_limit: float | None) -> Image:
    """(H, W), or (H, W, 3) RGB, after CLAHE in 8 x 8 tiles; in colour on the lightness of Lab, so hues stay. Null: as it is.

    K. Zuiderveld, Contrast limited adaptive histogram equalization, Graphics Gems IV, 1994.
    """
    if clip_limit is None:
        return image
    clahe = cv2.createCLAHE(clip_limit, TILES)
    if image.ndim == 2:
        return np.asarray(clahe.apply(image), np.uint8)
    lightness, *hue = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2LAB))
    return np.asarray(cv2.cvtColor(cv2.merge([clahe.apply(lightness), *hue]), cv2.COLOR_LAB2RGB), np.uint8)


def read_image(path: Path, channels: int) -> Image | str:
    """(H, W) uint8, or (H, W, 3) RGB where 3 channels are asked for and differ; or what was found instead.

    16 bits are no image to us: which of them hold the picture (12 often do) only its owner knows.
    """
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        return error.strerror or type(error).__name__
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH
    image = cv2.imdecode(encoded, flags) if len(encoded) else None
    if image is None:
        return "none"
    if image.dtype != np.uint8:
        return f"{8 * image.itemsize} bits"
    blue, green, red = cv2.split(image)
    if np.array_equal(blue, green) and np.array_equal(green, red):
        return np.asarray(blue, np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGR2GRAY), np.uint8)
