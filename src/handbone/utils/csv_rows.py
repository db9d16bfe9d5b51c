"""A strict reader of CSV: what others repair silently (rows cut off, too short or too long, doubled names) is an error with its line."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.file_errors import read_bounded

BYTES = 2**30  # of a file; a submission of 288 images has 16 MB
SHOWN = 40  # letters of a field that an error quotes
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
DIGITS, LARGEST = 400, 2.0**63  # of the numbers in tables, which are pixels, epochs, folds and shares
REWRITE = "write the file again; if a stage wrote it, run dvc repro"
csv.field_size_limit(2**31 - 1)  # an encoding of a large mask is longer than the default, 131072 letters


@dataclass(frozen=True)
class CsvRows:
    """The rows of a CSV as text. text: the whole file; lines: the number of the line, from 1, in which each row begins."""

    path: Path
    text: str
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        """The cells of the column of that name."""
        index = self.header.index(name)
        return [row[index] for row in self.rows]

    def place(self, row: int, column: str = "") -> str:
        """Where a row is, for an error: the file, the line and the column."""
        return f"{self.path}: line {self.lines[row]}" + (f", column {column}" if column else "")


def read_csv_rows(path: Path, columns: Sequence[str] = (), fix: str = REWRITE) -> CsvRows:
    """Read a CSV in UTF-8, with or without a byte order mark. Lines without any letter are left out.

    columns: names that must be in the header. fix: what a user can do about a fault.
    Raises `UserError` for a file that is empty, no UTF-8, does not end with the end of a line, has an open quotation mark, a name twice or
    not at all in its header, and with every row that has more or fewer fields than the header.
    """
    text = _decoded(path, read_bounded(path, BYTES), fix)
    if text[-1] not in "\r\n":
        found = f"an end in the middle of line {len(text.splitlines())}, so the file may be cut off"
        raise UserError(Problem("csv.cut_off", str(path), "a line end after the last row", found, fix))
    (header_line, header), *rest = _split(path, text, fix) or [(1, [])]
    table = CsvRows(path, text, header, [row for _, row in rest], [line for line, _ in rest])
    raise_if_any(_header_problems(path, header_line, header, columns, fix), f"{path} cannot be used")
    raise_if_any(_length_problems(table, fix), f"{path} cannot be used")
    return table


def quoted(field: str) -> str:
    """The field in quotation marks, for an error; a long one is cut."""
    return repr(field if len(field) <= SHOWN else field[:SHOWN] + "...")


def repeated(table: CsvRows, columns: Sequence[str]) -> list[Problem]:
    """A problem for each row whose fields in `columns` an earlier row has too."""
    first: dict[tuple[str, ...], int] = {}
    problems: list[Problem] = []
    keys = list(zip(*(table.column(name) for name in columns), strict=True))
    if len(set(keys)) == len(keys):
        return problems
    for row, key in enumerate(keys):
        if (earlier := first.setdefault(key, row)) != row:
            found = f"{', '.join(map(quoted, key))} again, first in line {table.lines[earlier]}"
            expected = f"each {' and '.join(columns)} once"
            problems.append(Problem("csv.repeated", table.place(row), expected, found, "remove one of the two rows"))
    return problems


def number_problems(table: CsvRows, columns: Iterable[str], optional: Collection[str] = ()) -> list[Problem]:
    """A problem for each field in `columns` that is no finite number; in the columns `optional` a field may be empty."""
    return [
        Problem("csv.number", table.place(row, name), "a finite number", quoted(text), REWRITE)
        for name in columns
        if not _are_counts(cells := table.column(name))
        for row, text in enumerate(cells)
        if not _is_number(text) and (text or name not in optional)
    ]


def key_problems(table: CsvRows) -> list[Problem]:
    """A problem for each `key` that leads out of the folder in which stages keep the file of that name."""
    keys = table.column("key") if "key" in table.header else []
    leading_out = {key for key in set(keys) if "\0" in key or any(part in ("", ".", "..") for part in key.split("/"))}
    bad = [row for row, key in enumerate(keys) if key in leading_out]
    return [Problem("csv.key", table.place(row, "key"), "a name as person/image", quoted(keys[row]), REWRITE) for row in bad]


def _are_counts(cells: Sequence[str]) -> bool:
    """Whether all cells are decimal digits; true for most columns, and in a tenth of the time that a look at each number takes."""
    together = "".join(cells)
    return together.isascii() and together.isdecimal() and min(map(len, cells)) > 0 and max(map(len, cells)) < 19


def _is_number(text: str) -> bool:
    return len(text) <= DIGITS and NUMBER.fullmatch(text) is not None and abs(float(text)) < LARGEST


def _decoded(path: Path, data: bytes, fix: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"{path}: line {data.count(10, 0, error.start) + 1}"
        raise UserError(Problem("csv.encoding", place, "text in UTF-8", f"the byte 0x{data[error.start]:02x}", fix)) from None
    if not text.strip():
        raise UserError(Problem("csv.empty", str(path), "a first row with the names of the columns", "an empty file", fix))
    return text


def _split(path: Path, text: str, fix: str) -> list[tuple[int, list[str]]]:
    """The line number and the fields of each row; lines without any letter are left out."""
    text = text.replace("\r\n", "\n") if '"' not in text else text
    if '"' not in text and "\r" not in text:  # the same as below, in a sixth of the time
        return [(number, line.split(",")) for number, line in enumerate(text.split("\n"), 1) if line]
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    rows, begins = [], 1
    try:
        for row in reader:
            if row:
                rows.append((begins, row))
            begins = reader.line_num + 1
    except csv.Error as error:
        place = f"{path}: line {begins}"
        raise UserError(Problem("csv.quotes", place, "quotation marks in pairs around a whole field", str(error), fix)) from None
    return rows


def _header_problems(path: Path, line: int, header: Sequence[str], columns: Iterable[str], fix: str) -> list[Problem]:
    place = f"{path}: line {line}"
    twice = sorted({name for name in header if header.count(name) > 1})
    problems = [Problem("csv.header", place, f"one column {quoted(name)}", str(header.count(name)), fix) for name in twice]
    missing = [name for name in columns if name not in header]
    found = ", ".join(map(quoted, header[:20]))
    return problems + [Problem("csv.columns", place, f"a column {name}", found, fix) for name in missing]


def _length_problems(table: CsvRows, fix: str) -> list[Problem]:
    wanted = len(table.header)
    wrong = [index for index, row in enumerate(table.rows) if len(row) != wanted]
    expected = f"{wanted} fields, as in the first row"
    return [Problem("csv.fields", table.place(index), expected, f"{len(table.rows[index])} fields", fix) for index in wrong]
