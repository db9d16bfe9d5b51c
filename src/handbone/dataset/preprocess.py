"""One sample of the data set, checked and converted to what the cache stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from handbone.cache.resize import UInt8Image, shrink
from handbone.cache.sample import CachedSample
from handbone.dataset.annotation import read_polygons
from handbone.dataset.layout import Sample
from handbone.masks.packed import PackedMasks
from handbone.masks.rasterize import rasterize
from handbone.utils.errors import Problem, UserError

CLAHE_TILES = (8, 8)  # across and down


@dataclass(frozen=True)
class PreprocessSpec:
    """Everything that a cached sample depends on beside its files.

    classes: C labels. allow_missing: an image need not show every class. size: pixels of the longer side; None: native. channels: 1 or 3.
    clahe: clip limit as in OpenCV, the height of a tile's histogram relative to its mean; None: no CLAHE.
    """

    classes: Sequence[str]
    allow_missing: bool
    size: int | None
    channels: int
    clahe: float | None = None


def prepare_sample(sample: Sample, spec: PreprocessSpec) -> CachedSample:
    """Read and check one sample -> what the cache stores: the image at cache size, the masks at full resolution.

    Raises `UserError` with every fault of the sample's files.
    """
    image = read_image(sample.image, spec.channels)
    shape = (image.shape[0], image.shape[1])
    masks = None
    if sample.annotation is not None:
        polygons, problems = read_polygons(sample.annotation, spec.classes, shape, spec.allow_missing)
        if problems:
            raise UserError(*problems)
        masks = PackedMasks.pack(rasterize(polygons, shape))
    # CLAHE before shrinking: the network then sees nearly the same image whether the cache shrinks it or the loader does
    return CachedSample(shrink(apply_clahe(image, spec.clahe), spec.size), shape, masks)


def apply_clahe(image: UInt8Image, clip_limit: float | None) -> UInt8Image:
    """(H, W), or (H, W, 3) RGB, after CLAHE in 8 x 8 tiles; in colour on the lightness of Lab, so hues do not change. None: unchanged.

    K. Zuiderveld, Contrast limited adaptive histogram equalization, Graphics Gems IV, 1994.
    """
    if clip_limit is None:
        return image
    clahe = cv2.createCLAHE(clip_limit, CLAHE_TILES)
    if image.ndim == 2:
        return np.asarray(clahe.apply(image), np.uint8)
    lightness, *hue = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2LAB))
    return np.asarray(cv2.cvtColor(cv2.merge([clahe.apply(lightness), *hue]), cv2.COLOR_LAB2RGB), np.uint8)


def read_image(path: Path, channels: int) -> UInt8Image:
    """(H, W) uint8; or (H, W, 3) RGB if `channels` is 3 and the image's channels differ.

    Raises `UserError` if OpenCV cannot decode the file, or if it has 16 bits per channel: which of them hold the picture (often 12 do)
    only the owner of the data knows.
    """
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(_image_problem("image.read", path, error.strerror or type(error).__name__)) from error
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH
    image = cv2.imdecode(encoded, flags) if len(encoded) else None
    if image is None:
        raise UserError(_image_problem("image.decode", path, "none"))
    if image.dtype != np.uint8:
        raise UserError(_image_problem("image.bits", path, f"{8 * image.itemsize} bits"))
    blue, green, red = cv2.split(image)
    if np.array_equal(blue, green) and np.array_equal(green, red):
        return np.asarray(blue, np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGR2GRAY), np.uint8)


def _image_problem(code: str, path: Path, found: str) -> Problem:
    fix = "replace the file, or name the sample in data.exclude"
    return Problem(code, str(path), "an image that OpenCV can decode, with 8 bits per channel", found, fix)
