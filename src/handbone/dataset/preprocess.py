"""One sample of the data set, checked and converted to what the cache stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from handbone.cache.resize import UInt8Image, shrink
from handbone.cache.sample import CachedSample
from handbone.dataset.annotation import read_polygons
from handbone.dataset.files import REPLACE, printable, read_file, unreadable
from handbone.dataset.layout import Sample
from handbone.dataset.png import UPRIGHT, PngHeader, read_header, without_texts
from handbone.masks.packed import PackedMasks
from handbone.masks.rasterize import rasterize
from handbone.utils.errors import Problem, UserError

CLAHE_TILES = (8, 8)  # across and down
EXPECTED = "a whole PNG with 8 bits per channel"
MAX_PIXELS = 100_000_000  # without a parameter
MAX_TEXTS = 64 << 20  # bytes of a PNG beside its pixels


@dataclass(frozen=True)
class PreprocessSpec:
    """Everything that a cached sample depends on beside its files.

    classes: C labels. allow_missing: an image need not show every class. size: pixels of the longer side; None: native. channels: 1 or 3.
    clahe: clip limit as in OpenCV, the height of a tile's histogram relative to its mean; None: no CLAHE. max_pixels: of an image.
    exclusive: classes exclude each other, see `without_overlaps`.
    """

    classes: Sequence[str]
    allow_missing: bool
    size: int | None
    channels: int
    clahe: float | None = None
    max_pixels: int = MAX_PIXELS
    exclusive: bool = False


def prepare_sample(sample: Sample, spec: PreprocessSpec) -> CachedSample:
    """Read and check one sample -> what the cache stores: the image at cache size, the masks at full resolution.

    Raises `UserError` with every fault of the sample's files, whatever exception reading them gives.
    """
    image, problems = _checked_image(sample.image, spec)
    shape = None if image is None else (image.shape[0], image.shape[1])
    polygons = None
    if sample.annotation is not None:
        polygons, faults = read_polygons(sample.annotation, spec.classes, shape, spec.allow_missing)
        problems += faults
    if problems or image is None or shape is None:
        raise UserError(*problems)
    try:
        masks = None if polygons is None else PackedMasks.pack(rasterize(polygons, shape))
        points = [list(map(len, of_class)) for of_class in polygons or []]
        # CLAHE before shrinking: the network then sees nearly the same image whether the cache shrinks it or the loader does
        return CachedSample(shrink(apply_clahe(image, spec.clahe), spec.size), shape, masks, points)
    except Exception as error:
        raise UserError(unreadable(sample.image, error)) from error


def without_overlaps(sample: CachedSample) -> tuple[CachedSample, int]:
    """The sample with a pixel of several masks in the last of them only, and how many pixels the others lose."""
    if sample.masks is None:
        return sample, 0
    drawn = sample.masks.unpack()
    masks = drawn.disjoint()
    return replace(sample, masks=PackedMasks.pack(masks)), int(drawn.areas().sum() - masks.areas().sum())


def _checked_image(path: Path, spec: PreprocessSpec) -> tuple[UInt8Image | None, list[Problem]]:
    """The image, or its faults."""
    try:
        return read_image(path, spec.channels, spec.max_pixels), []
    except UserError as error:
        return None, list(error.problems)
    except Exception as error:  # such as a size that OpenCV refuses: the faults of other files count too
        return None, [unreadable(path, error)]


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


def read_image(path: Path, channels: int, max_pixels: int = MAX_PIXELS) -> UInt8Image:
    """(H, W) uint8; or (H, W, 3) RGB if `channels` is 3 and the image's channels differ.

    Raises `UserError` for a file that is no whole PNG of at most `max_pixels`, and for what OpenCV would drop: the low 8 of 16 bits
    (which of them hold the picture, often 12 do, only the owner of the data knows), a rotation, transparency, frames.
    """
    encoded = read_file(path, "image.read", 4 * max_pixels + MAX_TEXTS, EXPECTED)
    try:
        header = read_header(encoded)
    except ValueError as error:
        raise UserError(Problem("image.decode", printable(path), EXPECTED, str(error), REPLACE)) from error
    if problems := _header_problems(printable(path), header, max_pixels):
        raise UserError(*problems)
    encoded = without_texts(encoded) if header.texts else encoded
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    if image is None:
        raise UserError(Problem("image.decode", printable(path), EXPECTED, "a damaged PNG", REPLACE))
    if header.may_be_transparent and _transparent(encoded, header):
        fix = "store the picture without transparency, or name the sample in data.exclude"
        raise UserError(Problem("image.alpha", printable(path), "an opaque image", "transparent pixels, behind which anything may be", fix))
    blue, green, red = cv2.split(image)
    if np.array_equal(blue, green) and np.array_equal(green, red):
        return np.asarray(blue, np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGR2GRAY), np.uint8)


def _header_problems(place: str, header: PngHeader, max_pixels: int) -> list[Problem]:
    """The faults that are known before decoding."""
    problems = []
    if not 0 < header.width * header.height <= max_pixels:
        fix = f"{REPLACE}, or set preprocess.max_pixels higher if the size is right"
        expected = f"at most {max_pixels} pixels (preprocess.max_pixels)"
        problems.append(Problem("image.pixels", place, expected, f"{header.width}x{header.height} pixels", fix))
    if header.bits > 8:
        fix = "scale it to 8 bits (only you know which of its bits hold the picture), or name the sample in data.exclude"
        problems.append(Problem("image.bits", place, EXPECTED, f"{header.bits} bits", fix))
    if header.orientation != UPRIGHT:
        expected = "pixels stored upright, as annotations count them"
        fix = "rotate the pixels themselves and remove the EXIF orientation (magick mogrify -auto-orient)"
        problems.append(Problem("image.orientation", place, expected, f"EXIF orientation {header.orientation}, which viewers rotate", fix))
    if header.frames > 1:
        problems.append(Problem("image.frames", place, "one picture", f"an animation of {header.frames} frames", REPLACE))
    return problems


def _transparent(encoded: bytes, header: PngHeader) -> bool:
    """Whether any pixel of the PNG is not opaque."""
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if image.ndim == 3 and image.shape[2] == 4:
        return bool((image[..., 3] < 255).any())
    # one colour counts as transparent: 16 bits per channel in the order red, green, blue, of which the lowest `bits` are used
    key = np.frombuffer(header.key_colour[:6], ">u2")[::-1] * (255 // (2**header.bits - 1))
    return bool((image.reshape(*image.shape[:2], -1) == key).all(2).any())
