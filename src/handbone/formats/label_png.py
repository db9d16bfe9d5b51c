"""Label images: one value per pixel, in a grey PNG or one with a palette."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handbone.formats.images import SUFFIXES, list_files
from handbone.formats.labels import MAX_PIXELS, LabelledImage, Labels, ReadOptions, mask
from handbone.formats.source import existing
from handbone.utils.errors import Problem, UserError, raise_if_any

BACKGROUND = 0
MODES = ("1", "L", "P", "I;16")  # of Pillow: one number per pixel; of a palette its index
Values = NDArray[np.uint16]


def read_label_png(source: Path, options: ReadOptions) -> Labels:
    """The PNGs below a folder, each for the picture of the same path apart from the suffix. 0 is the background.

    Raises `UserError` with every file that is no label image or has no picture, and every value without a name.
    """
    if options.pictures is None:
        raise UserError(Problem("import.option", "--images", "the folder of the pictures", "none", "add --images FOLDER"))
    pictures = existing(options.pictures, folder=True)
    stems: dict[str, list[Path]] = {}
    for path in list_files(pictures, SUFFIXES):
        stems.setdefault(path.relative_to(pictures).with_suffix("").as_posix(), []).append(path)
    images, problems, values = list[LabelledImage](), list[Problem](), dict[int, Path]()
    files = list_files(existing(source, folder=True), (".png",))
    if not files:
        raise UserError(Problem("import.source", str(source), "label images (PNG)", "none", "correct the path"))
    for file in files:
        stem = file.relative_to(source).with_suffix("").as_posix()
        try:
            pixels = _read(file)
            picture = _picture(file, stem, stems.get(stem, []))
        except UserError as error:
            problems += error.problems
            continue
        present = [value for value in np.flatnonzero(np.bincount(pixels.ravel())).tolist() if value != BACKGROUND]
        values |= {value: file for value in present if value not in values}
        annotations = [mask(options.values[value], pixels == value) for value in present if value in options.values]
        name = picture.relative_to(pictures).as_posix()
        size = (pixels.shape[0], pixels.shape[1])
        images.append(LabelledImage(name, str(file), picture, size, annotations))
    problems += [_unnamed(values[value], value, sorted(values)) for value in sorted(values) if value not in options.values]
    raise_if_any(problems, f"{source} cannot be imported")
    used = [name for value, name in sorted(options.values.items()) if value in values]
    return Labels(images, list(dict.fromkeys(used)))


def _read(file: Path) -> Values:
    """The (H, W) values of a label image."""
    try:
        with Image.open(file, formats=("PNG",)) as image:
            if image.mode not in MODES or image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels, {image.mode}")
            return np.asarray(image).astype(np.uint16)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        expected = "a whole PNG with one value per pixel (grey or with a palette)"
        fix = "export the labels as values instead of colours"
        raise UserError(Problem("import.label_image", str(file), expected, str(error)[:200], fix)) from None


def _picture(file: Path, stem: str, found: list[Path]) -> Path:
    if len(found) == 1:
        return found[0]
    text = ", ".join(map(str, found[:3])) or "none"
    fix = "correct --images, or rename the files so that both have the same name"
    raise UserError(Problem("import.picture", str(file), f"one picture {stem} in --images", text, fix))


def _unnamed(file: Path, value: int, values: list[int]) -> Problem:
    example = ",".join(f"{one}=NAME" for one in values[:40])
    fix = f"add --values {example}; --classes leaves out what is no class"
    return Problem("import.value", str(file), "values with names", f"the value {value}", fix)
