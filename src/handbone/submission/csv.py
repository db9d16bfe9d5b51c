"""The submission CSV. Images are sorted by path, and each has every class in order.

In the program a row is image name, class and encoding; pixels count from 1, and an empty mask is an empty text. The parameters `submission`
may say otherwise (names of columns, first pixel, text of an empty mask): that is converted where the file is read or written.
The order of pixels stays that of the file, because it takes the image's size to change it (`encode_masks`, `decode_masks`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd

from handbone.config.params import SubmissionParams
from handbone.masks.rle import decode_runs, encode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.utils.csv_rows import REWRITE, CsvRows, quoted, read_csv_rows
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.io import read_table, replacing
from handbone.utils.names import composed

SUBMISSION_COLUMNS = ["image_name", "class", "rle"]
COMPETITION = SubmissionParams()  # the format of the first competition
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
    if not all(side == int(side) and 0 < side <= LARGEST_SIDE for side in size):
        expected, found = f"whole numbers of pixels from 1 to {LARGEST_SIDE}", " x ".join(map(str, size))
        problems.append(Problem("index.size", place, expected, found, REWRITE))
    if composed(PurePosixPath(name).stem) != composed(key.split("/")[-1]):
        problems.append(Problem("index.name", place, f"an image name as {key.split('/')[-1]}.png", quoted(name), REWRITE))
    return problems


def image_rows(image_name: str, classes: Sequence[str], encoded: Sequence[str]) -> list[SubmissionRow]:
    """C encodings of one image -> its C rows."""
    return [(image_name, label, text) for label, text in zip(classes, encoded, strict=True)]


def encode_masks(masks: RunLengthMasks, form: SubmissionParams = COMPETITION) -> list[str]:
    """C masks -> the C encodings of rows, pixels in the order of the file."""
    return encode_runs(masks if form.order == "row" else masks.transposed())


def decode_masks(
    texts: Sequence[str], shape: tuple[int, int], places: Sequence[str] = (), form: SubmissionParams = COMPETITION
) -> RunLengthMasks:
    """The C encodings of rows -> C masks of one (H, W) image. Raises `UserError` as `decode_runs` does."""
    if form.order == "row":
        return decode_runs(texts, *shape, places)
    return decode_runs(texts, shape[1], shape[0], places).transposed()


def text_of_file(text: str, form: SubmissionParams) -> str:
    """The encoding of a row -> that in the file."""
    return (text if form.base else shift_starts(text, -1)) if text else form.empty


def text_of_row(text: str, form: SubmissionParams) -> str:
    """The encoding in a file -> that of a row."""
    if text == form.empty:
        return ""
    return text if form.base else shift_starts(text, 1)


def shift_starts(text: str, by: int) -> str:
    """An encoding whose starts are larger by `by`. A text that is no encoding stays as it is: who decodes it says what is wrong."""
    numbers = text.split()
    if not all(number.isascii() and number.isdecimal() and len(number) < 19 for number in numbers):
        return text
    return " ".join(str(int(number) + by) if index % 2 == 0 else number for index, number in enumerate(numbers))


def write_submission(path: Path, rows: Iterable[SubmissionRow], form: SubmissionParams = COMPETITION) -> None:
    """Write the rows in the order in which they come.

    pandas and csv look at each character of 16 MB of encodings for something to quote; only names can need quotes.
    """
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(map(_quoted, form.columns)) + "\n")
        file.writelines(f"{_quoted(name)},{_quoted(label)},{text_of_file(text, form)}\n" for name, label, text in rows)


def read_submission(path: Path) -> pd.DataFrame:
    """The rows as text; an empty field is an empty string, not a missing value.

    Raises `UserError` if there is no such file, for every fault that `read_csv_rows` lists, and if it has other columns.
    """
    table = submission_table(path)
    return pd.DataFrame({name: table.column(name) for name in table.header}, dtype=str)


def submission_table(path: Path, form: SubmissionParams = COMPETITION) -> CsvRows:
    """The rows as text, with their lines in the file, under `SUBMISSION_COLUMNS`. Raises `UserError` as `read_submission` does."""
    if not path.is_file():
        fix = "run dvc repro, or name an existing file"
        raise UserError(Problem("submission.missing", str(path), "a submission", "no such file", fix))
    table = read_csv_rows(path, fix="save the submission again as CSV in UTF-8")
    if table.header != form.columns:
        expected, found = f"the columns {','.join(form.columns)}", ", ".join(map(quoted, table.header[:20]))
        raise UserError(Problem("submission.columns", str(path), expected, found, "correct the first row, or submission.columns"))
    if form == COMPETITION:
        return table
    rows = [[name, label, text_of_row(text, form)] for name, label, text in table.rows]
    return replace(table, header=SUBMISSION_COLUMNS, rows=rows)


def submitted_masks(
    path: Path, images: Mapping[str, TestImage], classes: Sequence[str], form: SubmissionParams = COMPETITION
) -> dict[str, RunLengthMasks]:
    """The C masks of each test image by key, from the CSV.

    Raises `UserError` as `read_submission` does, with each row that is missing, unknown or there twice, and with each invalid encoding.
    """
    table = submission_table(path, form)
    found, problems = _row_of_each(table, [(name, label) for name, _, _ in images.values() for label in classes])
    encodings, masks = table.column("rle"), {}
    for key, (name, height, width) in images.items():
        rows = {label: found[name, label] for label in classes if (name, label) in found}
        places = [f"{table.place(row)}: {name}, {label}" for label, row in rows.items()]
        try:
            masks[key] = decode_masks([encodings[row] for row in rows.values()], (height, width), places, form)
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
        key, what = known.get((composed(given[0]), composed(given[1]))), f"{quoted(given[0])}, {quoted(given[1])}"
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
