"""The submission CSV: image_name,class,rle. Images are sorted by path, each has every class in order, an empty mask is an empty field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from handbone.masks.rle import decode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.utils.errors import Problem, UserError
from handbone.utils.io import read_table, replacing

SUBMISSION_COLUMNS = ["image_name", "class", "rle"]
SubmissionRow = tuple[str, str, str]  # image name, class, run-length encoding
TestImage = tuple[str, int, int]  # name, height, width in pixels


def test_images(index: Path) -> dict[str, TestImage]:
    """The index of the test images -> the images by key, in the order of the submission. Raises `UserError` if there is no index."""
    test = read_table(index)
    rows = zip(test["key"], test["image_name"], test["height"], test["width"], strict=True)
    return {str(key): (str(name), int(height), int(width)) for key, name, height, width in rows}


def image_rows(image_name: str, classes: Sequence[str], encoded: Sequence[str]) -> list[SubmissionRow]:
    """C encodings of one image -> its C rows."""
    return [(image_name, label, text) for label, text in zip(classes, encoded, strict=True)]


def write_submission(path: Path, rows: Iterable[SubmissionRow]) -> None:
    """Write the rows in the order in which they come.

    pandas and csv look at each character of 16 MB of encodings for something to quote; only names can need quotes.
    """
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(SUBMISSION_COLUMNS) + "\n")
        file.writelines(f"{_quoted(name)},{_quoted(label)},{text}\n" for name, label, text in rows)


def read_submission(path: Path) -> pd.DataFrame:
    """The rows as text; an empty field is an empty string, not a missing value.

    Raises `UserError` if there is no such file, if it is no CSV, and if it has other columns.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        fix = "run dvc repro, or name an existing file"
        raise UserError(Problem("submission.missing", str(path), "a submission", "no such file", fix)) from None
    except (OSError, ValueError) as error:
        fix = "save the submission again as CSV in UTF-8"
        raise UserError(Problem("submission.unreadable", str(path), "a CSV in UTF-8", str(error), fix)) from None
    if list(table.columns) != SUBMISSION_COLUMNS:
        expected, found = f"the columns {','.join(SUBMISSION_COLUMNS)}", ",".join(map(str, table.columns))
        raise UserError(Problem("submission.columns", str(path), expected, found, "correct the first row"))
    return table


def encodings(path: Path, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The encoding of each (image name, class) in the CSV.

    Raises `UserError` as `read_submission` does, and if the rows are not exactly those `wanted`.
    """
    submission = read_submission(path)
    given = list(zip(submission["image_name"], submission["class"], strict=True))
    if sorted(given) != sorted(wanted):
        missing, unknown = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
        expected = f"{len(wanted)} rows, one for each test image and class"
        found = f"{len(given)} rows, {len(missing)} missing {missing[:2]}, {len(unknown)} unknown {unknown[:2]}"
        raise UserError(Problem("submission.rows", str(path), expected, found, "add the missing rows and remove the others"))
    return dict(zip(given, submission["rle"], strict=True))


def decode_image(path: Path, encoded: Mapping[tuple[str, str], str], image: TestImage, classes: Sequence[str]) -> RunLengthMasks:
    """The C masks of one image, from the `encodings` of the CSV `path`. Raises `UserError` for an invalid encoding."""
    name, height, width = image
    try:
        return decode_runs([encoded[name, label] for label in classes], height, width)
    except UserError as error:
        raise UserError(*(replace(problem, place=f"{path}: {name}") for problem in error.problems)) from None


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if any(letter in field for letter in ',"\r\n') else field
