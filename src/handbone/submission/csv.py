"""The submission CSV: image_name,class,rle. Images are sorted by path, each has every class in order, an empty mask is an empty field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from handbone.masks.rle import decode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.utils.csv_rows import REWRITE, CsvRows, read_csv_rows, shown
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.io import read_table, replacing
from handbone.utils.names import composed

SUBMISSION_COLUMNS = ["image_name", "class", "rle"]
SubmissionRow = tuple[str, str, str]  # image name, class, run-length encoding
LARGEST_SIDE = 2**16  # pixels
TestImage = tuple[str, int, int]  # name, height, width in pixels


def test_images(index: Path) -> dict[str, TestImage]:
    """The index of the test images -> the images by key, in the order of the submission. Raises `UserError` if there is no index."""
    test = read_table(index, ["key", "image_name", "height", "width"])
    rows = list(zip(test["key"], test["image_name"], test["height"], test["width"], strict=True))
    problems = [problem for key, name, *size in rows for problem in _index_problems(f"{index}: {key}", key, name, size)]
    raise_if_any(problems, f"{index} cannot be used")
    return {str(key): (str(name), int(height), int(width)) for key, name, height, width in rows}


def _index_problems(place: str, key: str, name: str, size: Sequence[float]) -> list[Problem]:
    problems = []
    if not all(side == int(side) and 0 < side < LARGEST_SIDE for side in size):
        expected, found = f"whole numbers of pixels from 1 to {LARGEST_SIDE}", " x ".join(map(str, size))
        problems.append(Problem("index.size", place, expected, found, REWRITE))
    if composed(PurePosixPath(name).stem) != composed(key.split("/")[-1]):
        problems.append(Problem("index.name", place, f"an image name as {key.split('/')[-1]}.png", shown(name), REWRITE))
    return problems


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

    Raises `UserError` if there is no such file, for every fault that `read_csv_rows` lists, and if it has other columns.
    """
    table = submission_table(path)
    return pd.DataFrame({name: table.column(name) for name in table.header}, dtype=str)


def submission_table(path: Path) -> CsvRows:
    """The rows as text, with their lines in the file. Raises `UserError` as `read_submission` does."""
    if not path.is_file():
        fix = "run dvc repro, or name an existing file"
        raise UserError(Problem("submission.missing", str(path), "a submission", "no such file", fix))
    table = read_csv_rows(path, fix="save the submission again as CSV in UTF-8")
    if table.header != SUBMISSION_COLUMNS:
        expected, found = f"the columns {','.join(SUBMISSION_COLUMNS)}", ", ".join(map(shown, table.header[:20]))
        raise UserError(Problem("submission.columns", str(path), expected, found, "correct the first row"))
    return table


def submitted_masks(path: Path, images: Mapping[str, TestImage], classes: Sequence[str]) -> dict[str, RunLengthMasks]:
    """The C masks of each test image by key, from the CSV.

    Raises `UserError` as `read_submission` does, with each row that is missing, unknown or there twice, and with each invalid encoding.
    """
    table = submission_table(path)
    found, problems = _row_of_each(table, [(name, label) for name, _, _ in images.values() for label in classes])
    encodings, masks = table.column("rle"), {}
    for key, (name, height, width) in images.items():
        rows = {label: found[name, label] for label in classes if (name, label) in found}
        places = [f"{table.place(row)}: {name}, {label}" for label, row in rows.items()]
        try:
            masks[key] = decode_runs([encodings[row] for row in rows.values()], height, width, places)
        except UserError as error:
            problems += error.problems
    raise_if_any(problems, f"{path} cannot be used")
    return masks


def _row_of_each(table: CsvRows, wanted: Sequence[tuple[str, str]]) -> tuple[dict[tuple[str, str], int], list[Problem]]:
    """The index of the row of each (image name, class), and a problem for each that is missing, unknown or there twice."""
    expected, code = "one row for each test image and class", "submission.rows"
    known, found, problems = (
        {(composed(name), composed(label)): (name, label) for name, label in wanted},
        dict[tuple[str, str], int](),
        [],
    )
    for row, given in enumerate(zip(table.column("image_name"), table.column("class"), strict=True)):
        key, what = known.get((composed(given[0]), composed(given[1]))), f"{shown(given[0])}, {shown(given[1])}"
        if key is None:
            problems.append(Problem(code, table.place(row), expected, f"{what}, which is no test image or no class", "remove the row"))
        elif (first := found.setdefault(key, row)) != row:
            text = f"{what} again, first in line {table.lines[first]}"
            problems.append(Problem(code, table.place(row), expected, text, "remove one of the two rows"))
    missing = [key for key in wanted if key not in found]
    return found, problems + [
        Problem(code, f"{table.path}: {name}, {label}", expected, "none of this image and class", "add the row") for name, label in missing
    ]


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if any(letter in field for letter in ',"\r\n') else field
