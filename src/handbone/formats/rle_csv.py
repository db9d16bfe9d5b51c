"""A CSV of run-length encoded masks as competitions give it: long (one row per image and class) or wide (one column per class)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from handbone.formats.images import SUFFIXES, list_files, picture_size
from handbone.formats.labels import Annotation, LabelledImage, Labels, ReadOptions, Shape, mask
from handbone.formats.source import BYTES, existing, refuse_others
from handbone.masks.boxed import Mask
from handbone.masks.rle import decode_runs
from handbone.submission.csv import shift_starts
from handbone.utils.csv_rows import CsvRows, quoted, read_csv_rows
from handbone.utils.errors import Problem, UserError, nearest, raise_if_any
from handbone.utils.file_errors import read_bounded

EMPTY = ("", "-1", "nan")  # what competitions write for no mask


class _Row(NamedTuple):
    place: str
    image: str
    label: str
    text: str
    fields: dict[str, str]


def read_rle_csv(source: Path, options: ReadOptions) -> Labels:
    """The images and masks of one CSV; several rows of one image and class are united. Classes are in the order of the file.

    An image is named with or without its suffix. Raises `UserError` with every row that cannot be used.
    """
    refuse_others(source, read_bounded(existing(source, folder=False), BYTES), "csv")
    table = read_csv_rows(source, fix="correct the file")
    folder = options.pictures or source.parent
    pictures = _by_name(folder)
    names, problems = _columns(table, options)
    raise_if_any(problems, f"{source} cannot be imported")
    classes, of_image = dict[str, None](), dict[str, list[_Row]]()
    for row in _rows(table, names, options):
        of_image.setdefault(row.image, []).append(row)
        classes[row.label] = None
    images = []
    for name, rows in of_image.items():
        try:
            images.append(_image(name, rows, pictures, folder, options))
        except UserError as error:
            problems += error.problems
    raise_if_any(problems, f"{source} cannot be imported")
    return Labels(images, list(classes))


def decode(text: str, shape: Shape, by_column: bool, first: int, place: str) -> Mask:
    """The (H, W) mask of one encoding. by_column: pixels are counted column by column; first: the number of the first pixel, 0 or 1.

    Raises `UserError` (rle.syntax) for an encoding that is invalid.
    """
    height, width = shape[::-1] if by_column else shape
    text = text if first == 1 else shift_starts(text, 1)
    pixels = np.asarray(decode_runs([text], height, width, [place]).boxed().dense()[0])
    return pixels.T if by_column else pixels


def _columns(table: CsvRows, options: ReadOptions) -> tuple[dict[str, str], list[Problem]]:
    """The column of each role, and a problem for each that the table lacks."""
    roles = ["image"] if options.wide else ["image", "rle"] if options.label else ["image", "class", "rle"]
    names = {role: options.columns.get(role, role) for role in roles}
    fix = "name it with --columns, as in --columns image=ImageId,class=ClassId,rle=EncodedPixels"
    wanted = [*names.values(), *options.wide]
    place, found = str(table.path), ", ".join(map(quoted, table.header[:20]))
    lacking = [name for name in wanted if name not in table.header]
    return names, [Problem("import.column", place, f"a column {name}", found, f"{fix}; {nearest(name, table.header)}") for name in lacking]


def _rows(table: CsvRows, names: Mapping[str, str], options: ReadOptions) -> Iterator[_Row]:
    for number, cells in enumerate(table.rows):
        fields = dict(zip(table.header, cells, strict=True))
        image, place = fields[names["image"]], table.place(number)
        if options.wide:
            for label in options.wide:
                yield _Row(f"{place}, column {label}", image, label, fields[label], fields)
        else:
            label = options.label or fields[names["class"]]
            yield _Row(place, image, label, fields[names["rle"]], fields)


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """The pictures below a folder by path and by name, each with and without suffix."""
    found: dict[str, list[Path]] = {}
    for path in list_files(existing(folder, folder=True), SUFFIXES):
        below = path.relative_to(folder)
        for name in {below.as_posix(), below.with_suffix("").as_posix(), below.name, below.stem}:
            found.setdefault(name, []).append(path)
    return found


def _image(name: str, rows: list[_Row], pictures: Mapping[str, list[Path]], folder: Path, options: ReadOptions) -> LabelledImage:
    """The image of some rows, one mask per class. Raises `UserError` with all of their faults."""
    found = pictures.get(name, [])
    if len(found) != 1:
        text, fix = ", ".join(map(str, found[:3])) or "none", "correct the row, or name the folder with --images"
        raise UserError(Problem("import.picture", f"{rows[0].place}: {quoted(name)}", f"one picture of this name in {folder}", text, fix))
    shape, masks, problems = picture_size(found[0]), dict[str, Mask](), list[Problem]()
    for row in rows:
        if row.text.strip().lower() in EMPTY:
            continue
        try:
            pixels = decode(row.text.strip(), shape, options.by_column, options.first, row.place)
            masks[row.label] = pixels | masks[row.label] if row.label in masks else pixels
        except UserError as error:
            problems += error.problems
    raise_if_any(problems, "")
    annotations: list[Annotation] = [mask(label, pixels) for label, pixels in masks.items()]
    return LabelledImage(found[0].relative_to(folder).as_posix(), rows[0].place, found[0], shape, annotations, rows[0].fields)
