"""The submission CSV: image_name,class,rle - images sorted by path, every class in order, an empty mask an empty field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from handbone.utils.errors import UserError
from handbone.utils.io import read_table

COLUMNS = ["image_name", "class", "rle"]
Row = tuple[str, str, str]  # image name, class, encoding
TestImage = tuple[str, int, int]  # name, height, width


def test_images(index: Path) -> dict[str, TestImage]:
    """The index of the test images -> the images by key, in the order of the submission."""
    test = read_table(index)
    rows = zip(test["key"], test["image_name"], test["height"], test["width"], strict=True)
    return {str(key): (str(name), int(height), int(width)) for key, name, height, width in rows}


def image_rows(image_name: str, classes: Sequence[str], encoded: Sequence[str]) -> list[Row]:
    """C strings of one image -> its C rows."""
    return [(image_name, label, text) for label, text in zip(classes, encoded, strict=True)]


def write_submission(rows: Iterable[Row], path: Path) -> None:
    """Write the rows as they come; the file takes its name when it is whole.

    Writers of tables look at each letter of 16 MB of runs for what to quote; only names can hold such.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        file.writelines(f"{_quoted(name)},{_quoted(label)},{text}\n" for name, label, text in rows)
    partial.replace(path)


def read_submission(path: Path) -> pd.DataFrame:
    """The rows as text; an empty field is an empty string, not a missing value."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected a submission, found {error}; run dvc repro") from None
    if list(table.columns) != COLUMNS:
        raise UserError(f"{path}: expected the columns {','.join(COLUMNS)}; found {','.join(map(str, table.columns))}; write it again")
    return table


def encodings(path: Path, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The CSV's encoding for each (image name, class), which must be exactly those wanted."""
    submission = read_submission(path)
    given = list(zip(submission["image_name"], submission["class"], strict=True))
    if sorted(given) != sorted(wanted):
        missing, unknown = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
        found = f"{len(given)} rows, {len(missing)} missing {missing[:2]}, {len(unknown)} unknown {unknown[:2]}"
        raise UserError(f"{path}: expected {len(wanted)} rows, one for each image and class; found {found}; write it again")
    return dict(zip(given, submission["rle"], strict=True))


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if any(letter in field for letter in ',"\r\n') else field
