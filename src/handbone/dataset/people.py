"""Attributes of people from <root>/train/people.csv, with every fault of the table collected."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Mapping
from io import StringIO
from pathlib import Path

import pandas as pd

from handbone.dataset.files import read_file
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.io import ATTRIBUTE
from handbone.utils.names import composed

TABLE = Path("train/people.csv")
People = Mapping[str, Mapping[str, str]]
"""Attribute -> person -> value, all text; a person who is not in the table is absent."""
_Rows = list[tuple[int, list[str]]]
"""Line number and cells of each row."""
MAX_BYTES = 64 << 20
SAVE = "save it again as CSV (UTF-8)"
EXAMPLES = 3


def read_people(root: Path) -> People:
    """The attributes in `root`/train/people.csv, without spaces around names and values; empty if there is no such file.

    The table may name people of the training set and of the test set.
    Raises `UserError` if the table is at `root` itself, is no CSV in UTF-8, does not end in a newline or has no column `person`, and with
    every column without a name or with another column's name, every row of another length, and every person who is named twice or not at
    all.
    """
    path, misplaced = root / TABLE, root / TABLE.name
    if misplaced.exists():
        found = "it where no stage reads it"
        raise UserError(Problem("people.place", str(misplaced), f"the table of people at {path}", found, f"move {misplaced} to {path}"))
    if not path.exists():
        return {}
    names, rows = _read_rows(path)
    raise_if_any(_table_problems(path, names, rows), f"{path} cannot be used")
    people = [row[names.index("person")] for _, row in rows]
    columns = zip(*(row for _, row in rows), strict=True) if rows else [()] * len(names)
    return {name: dict(zip(people, values, strict=True)) for name, values in zip(names, columns, strict=True) if name != "person"}


def people_faults(root: Path, people: People, train: Collection[str], test: Collection[str]) -> tuple[list[Problem], list[Problem]]:
    """The errors and the warnings of a table that fits none of the people in the folders `train` and `test`."""
    named = {composed(person) for values in people.values() for person in values}
    fits = {subset: any(composed(name) in named for name in names) for subset, names in (("train", train), ("test", test))}
    if not named or fits["train"]:
        return [], []
    shown = f"{_examples(named)} in the table, {_examples(train)} in train, {_examples(test)} in test"
    fix = "write the names of the folders below DCM into the column person"
    if fits["test"]:
        return [], [Problem("people.no_training_person", str(root / TABLE), "people of the training set too", shown, fix)]
    return [Problem("people.nobody", str(root / TABLE), "names of people's folders", f"no such name: {shown}", fix)], []


def _examples(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")


def with_attributes(index: pd.DataFrame, people: People) -> pd.DataFrame:
    """The index with a column `person_<attribute>` for each attribute, empty for people whose value is unknown."""
    names = index["person"].map(composed)
    by_name = {attribute: {composed(person): value for person, value in values.items()} for attribute, values in people.items()}
    return index.assign(**{f"{ATTRIBUTE}{attribute}": names.map(values).fillna("") for attribute, values in by_name.items()})


def _read_rows(path: Path) -> tuple[list[str], _Rows]:
    """The header, and every later row; rows without any text are left out, because spreadsheets add them."""
    content = read_file(path, "people.csv", MAX_BYTES, "a CSV in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"{path}: line {content.count(10, 0, error.start) + 1}"
        raise UserError(Problem("people.csv", place, "a CSV in UTF-8", f"the byte 0x{content[error.start]:02x}", SAVE)) from error
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise UserError(Problem("people.csv", f"{path}: line {reader.line_num}", "a CSV in UTF-8", str(error), SAVE)) from error
    if text and text[-1] not in "\r\n":
        expected, place = "a line end after the last row", f"{path}: line {reader.line_num}"
        raise UserError(Problem("people.cut_off", place, expected, "none, so the file may be cut off", SAVE))
    filled = [(line, row) for line, row in rows if any(row)]
    return (filled[0][1], filled[1:]) if filled else ([], [])


def _table_problems(path: Path, names: list[str], rows: _Rows) -> list[Problem]:
    first = f"{path}: the first row"
    if "person" not in names:
        fix = "name the column that holds the names of the folders below DCM"
        return [Problem("people.column", first, "a column person", ", ".join(names) or "nothing", fix)]
    return _column_problems(path, first, names) + _length_problems(path, len(names), rows) + _person_problems(path, names, rows)


def _column_problems(path: Path, first: str, names: list[str]) -> list[Problem]:
    nameless = [at for at, name in enumerate(names, 1) if not name]
    repeated = [(name, count) for name, count in Counter(names).items() if name and count > 1]
    return [Problem("people.column_name", f"{path}: column {at}", "a name", "none", "name it, or remove it") for at in nameless] + [
        Problem("people.column_twice", first, f"one column {name}", str(count), "rename all except one") for name, count in repeated
    ]


def _length_problems(path: Path, length: int, rows: _Rows) -> list[Problem]:
    expected = f"{length} cells, as in the first row"
    return [
        Problem("people.row_length", f"{path}: line {line}", expected, str(len(row)), "add the missing cells, or remove the surplus ones")
        for line, row in rows
        if len(row) != length
    ]


def _person_problems(path: Path, names: list[str], rows: _Rows) -> list[Problem]:
    column = names.index("person")
    lines: dict[str, list[int]] = {}
    for line, row in rows:
        if column < len(row):
            lines.setdefault(composed(row[column]), []).append(line)
    nameless = lines.pop("", [])
    return [
        Problem("people.no_person", f"{path}: line {line}", "a person", "none", "name one, or remove the line") for line in nameless
    ] + [
        Problem("people.person_twice", f"{path}: lines {', '.join(map(str, at))}", f"one row for {person}", str(len(at)), "keep one")
        for person, at in lines.items()
        if len(at) > 1
    ]
