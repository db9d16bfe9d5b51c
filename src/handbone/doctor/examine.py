"""Every finding about one submission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbone.config.params import SubmissionParams
from handbone.doctor.masks import Image
from handbone.doctor.misfits import misfits
from handbone.doctor.rows import RowOf, known_rows
from handbone.doctor.runs import FAULTS, Runs, image_runs
from handbone.doctor.table import Table, read_rows
from handbone.doctor.training import Training, places_of
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import COMPETITION, TestImage
from handbone.utils.errors import Problem

WARNINGS = {f"doctor.{kind}" for kind in ("bom", "line_ends", "touching", "empty", "area", "side", "pieces")}
"""Codes of findings that a server reads as they were meant, or that may be right; all others are errors."""


@dataclass(frozen=True)
class Expected:
    """What a submission is for.

    images: name, height and width by key, in the order of the submission. classes: C labels. training: what their masks are like; None:
    nothing is compared with it. form: how the submission is written.
    """

    images: Mapping[str, TestImage]
    classes: Sequence[str]
    training: Training | None
    form: SubmissionParams = COMPETITION

    def encoded_shape(self, key: str) -> tuple[int, int]:
        """The shape of an image as encodings count its pixels: (H, W), or (W, H) if column by column."""
        _, height, width = self.images[key]
        return (height, width) if self.form.order == "row" else (width, height)


def examine(path: Path, expected: Expected) -> tuple[list[Problem], list[Problem]]:
    """-> every error and every warning. Raises `UserError` if there is no such file, or an empty one."""
    table = read_rows(path, expected.form)
    problems = table.problems + (_row_problems(table, expected) if table.rows or not table.problems else [])
    return [one for one in problems if one.code not in WARNINGS], [one for one in problems if one.code in WARNINGS]


def _row_problems(table: Table, expected: Expected) -> list[Problem]:
    found, problems = known_rows(table, expected.images, expected.classes)
    places, images = places_of(list(expected.images)).tolist(), list[Image]()
    for key, place in zip(expected.images, places, strict=True):
        runs = _runs(found, key, expected)
        kinds = [(label, kind) for label, of_row in runs.items() for kind in of_row.kinds]
        problems += [Problem(f"doctor.{kind}", table.place(found[key, label]), *FAULTS[kind]) for label, kind in kinds]
        images.append(_image(key, place, runs, expected))

    def place_of(key: str, index: int | None) -> str:
        if index is None:
            return table.place(next(row for (of, _), row in found.items() if of == key)) + f" ({expected.images[key][0]})"
        return table.place(found[key, expected.classes[index]])

    return problems + _empty(table, images, expected) + misfits(images, expected.training, place_of)


def _runs(found: RowOf, key: str, expected: Expected) -> dict[str, Runs]:
    """The runs of the image by class, for the rows that have an encoding."""
    rows = {label: row.rle for label in expected.classes if (row := found.get((key, label))) and row.rle is not None}
    return dict(zip(rows, image_runs(list(rows.values()), expected.encoded_shape(key)), strict=True))


def _image(key: str, place: int, runs: Mapping[str, Runs], expected: Expected) -> Image:
    of_class = [runs[label].intervals if label in runs else None for label in expected.classes]
    intervals = [np.zeros((0, 2), np.int64) if of_row is None else of_row for of_row in of_class]
    indptr: NDArray[np.int64] = np.cumsum([0, *map(len, intervals)])
    encoded = RunLengthMasks(expected.encoded_shape(key), indptr, np.concatenate(intervals))
    masks = encoded if expected.form.order == "row" else encoded.transposed()
    return Image(key, place, masks, encoded, np.array([of_row is not None for of_row in of_class]))


def _empty(table: Table, images: Sequence[Image], expected: Expected) -> list[Problem]:
    """A warning for each class with empty masks, unless training images lack the class about as often."""
    known = np.array([image.known for image in images])
    empty = (known & np.array([image.masks.areas() == 0 for image in images])).sum(0).tolist()
    totals = known.sum(0).tolist()
    usual = [0.0] * len(totals) if expected.training is None else np.isnan(expected.training.areas).mean(0).tolist()
    fix = "if the images show the class, these masks score about 0"
    return [
        Problem("doctor.empty", f"{table.path}: {label}", "a mask in each image", f"{count} of {total} masks empty", fix)
        for label, count, total, share in zip(expected.classes, empty, totals, usual, strict=True)
        if count > 2 * share * total
    ]
