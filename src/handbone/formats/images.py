"""Pictures of any usual file format as 8-bit pixels, upright, without any loss."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from handbone.cache.resize import UInt8Image
from handbone.dataset.listing import is_ignored
from handbone.dataset.png import SIGNATURE, read_header
from handbone.formats.dicom import is_dicom, read_dicom
from handbone.formats.labels import MAX_PIXELS
from handbone.utils.errors import Problem, UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom")
DEEP = ("I;16", "I;16B", "I;16L", "I", "F")  # Pillow's modes of more than 8 bits
PLAIN = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
BITS_PER_SAMPLE = 258  # TIFF tag
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
Window = tuple[float, float]
"""The values that become black and white."""


def list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files below a folder with one of the suffixes in any letter case, sorted by path, without those of editors and systems."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_ignored(name)]
        found += [Path(parent, name) for name in names if name.lower().endswith(tuple(suffixes)) and not is_ignored(name)]
    return sorted(found, key=lambda path: path.as_posix())


def picture_size(path: Path) -> tuple[int, int]:
    """(H, W) of the upright picture, from the header alone. Raises `UserError` as `read_picture` does."""
    data = _content(path)
    if is_dicom(data):
        height, width = read_dicom(path, data, None, pixels=False).shape[:2]
        return height, width
    with _damage_as_error(path), _opened(path, data) as image:
        width, height = image.size
        turned = image.getexif().get(ExifTags.Base.Orientation) in TURNED and image.format != "TIFF"  # Pillow turns TIFF files itself
        return (width, height) if turned else (height, width)


def read_picture(path: Path, data: bytes | None = None, window: Window | None = None) -> UInt8Image:
    """(H, W), or (H, W, 3) RGB, uint8. data: the file's content, if it is not `path`. window: for pictures of more than 8 bits.

    An EXIF orientation is applied to the pixels.
    Raises `UserError` for a file that is no whole picture, is too large, has several frames, transparent pixels or another colour space
    than grey and RGB, and for more than 8 bits without a window.
    """
    data = _content(path) if data is None else data
    if is_dicom(data):
        return read_dicom(path, data, window)
    with _damage_as_error(path), _opened(path, data) as image:
        _check(path, image, data)
        upright = ImageOps.exif_transpose(image)
        return through_window(path, np.asarray(upright), window) if upright.mode in DEEP else _eight_bits(path, upright)


def through_window(path: Path, values: NDArray[Any], window: Window | None) -> UInt8Image:
    """Values -> 0 at the lower end of the window and below, 255 at its upper end and above, linear and rounded between them."""
    if window is None:
        found = f"{values.dtype.itemsize * 8} bits, values from {values.min():g} to {values.max():g}"
        fix = "add --window LOW HIGH: the values that become black and white"
        raise UserError(Problem("import.bits", str(path), "8 bits per channel, or a window", found, fix))
    low, high = window
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.floor(share * 255 + 0.5).astype(np.uint8)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fix = "correct the path, or name the folder of the images with --images"
        raise UserError(Problem("import.picture", str(path), "a picture", error.strerror or type(error).__name__, fix)) from None


@contextmanager
def _damage_as_error(path: Path) -> Iterator[None]:
    """Whatever exception Pillow gives for a damaged file is the user's to fix."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        found = f"{type(error).__name__}: {error}"[:200]
        raise UserError(Problem("import.picture", str(path), "a whole picture", found, "replace the file")) from None


def _opened(path: Path, data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "TIFF", "BMP"))
    except (UnidentifiedImageError, Image.DecompressionBombError):
        expected = "a PNG, JPEG, TIFF, BMP or DICOM file of at most 100 million pixels"
        raise UserError(Problem("import.picture", str(path), expected, "another file, or a larger picture", "replace the file")) from None
    if image.width * image.height > MAX_PIXELS:
        found = f"{image.width}x{image.height} pixels"
        raise UserError(Problem("import.pixels", str(path), f"at most {MAX_PIXELS} pixels", found, "make the image smaller"))
    return image


def _check(path: Path, image: Image.Image, data: bytes) -> None:
    """Raise `UserError` for what Pillow would drop silently."""
    place, problems = str(path), []
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        problems.append(Problem("import.frames", place, "one picture", f"{frames} frames", "save each as a file of its own"))
    bits = read_header(data).bits if data.startswith(SIGNATURE) else max(getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,)))
    if image.mode not in (*DEEP, *PLAIN) or (bits > 8 and image.mode not in DEEP):
        found = f"{bits} bits per channel, {image.mode}"
        problems.append(Problem("import.mode", place, "grey, or RGB of 8 bits per channel", found, "convert it"))
    if problems:
        raise UserError(*problems)


def _eight_bits(path: Path, image: Image.Image) -> UInt8Image:
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        coloured = np.asarray(image.convert("RGBA"))
        if (coloured[..., 3] < 255).any():
            fix = "store the picture without transparency"
            raise UserError(Problem("import.alpha", str(path), "an opaque image", "transparent pixels, behind which anything may be", fix))
        pixels = coloured[..., :3]
    else:
        pixels = np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    return np.ascontiguousarray(pixels, np.uint8)
