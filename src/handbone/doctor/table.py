"""A submission CSV that may be broken -> its rows as far as they can be read, with every fault of the file and of its header."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handbone.config.params import SubmissionParams
from handbone.submission.csv import text_of_row
from handbone.utils.csv_rows import BYTES, CsvRows, quoted, read_csv_rows
from handbone.utils.errors import Problem, UserError
from handbone.utils.file_errors import read_bounded

BOM = b"\xef\xbb\xbf"
SAVE = "save the submission again as CSV in UTF-8"
ENCODING = re.compile(r"[\d\s]*", re.ASCII)  # what stands in the third column of a row, and not of a header
Record = tuple[int, list[str]]  # number of the line, from 1, and its fields


@dataclass(frozen=True)
class Row:
    """One row. line: of the file, from 1; rle: None if the row has too many or too few fields to know it."""

    line: int
    image: str
    label: str
    rle: str | None


@dataclass(frozen=True)
class Table:
    """The rows that can be read. problems: of the file and of its header."""

    path: Path
    rows: list[Row]
    problems: list[Problem]

    def place(self, row: Row) -> str:
        """Where a row is, for a finding."""
        return f"{self.path}: line {row.line}"


def read_rows(path: Path, form: SubmissionParams) -> Table:
    """Read what can be read; encodings then count from 1. Raises `UserError` if there is no such file, or if it is empty."""
    if not path.is_file():
        raise UserError(Problem("submission.missing", str(path), "a submission", "no such file", "name an existing file"))
    data = read_bounded(path, BYTES)
    problems, records = _byte_problems(path, data), list[Record]()
    try:
        records = _strict_records(read_csv_rows(path, fix=SAVE))
    except UserError as error:
        if error.codes & {"csv.empty"}:
            raise
        records = _lenient_records(data.decode("utf-8-sig", errors="replace"))
        problems += [problem for problem in error.problems if problem.code not in ("csv.fields", "csv.cut_off")]
        problems += _cut_off_problems(path, data) + _length_problems(path, records)
    (line, header), *body = records
    columns, header_problems = _columns(f"{path}: line {line}", header, form.columns)
    if columns is not None and header_problems and _is_row(header):
        body = records
    rows = [] if columns is None else [_row(record, columns, len(header), form) for record in body]
    return Table(path, rows, problems + header_problems)


def _byte_problems(path: Path, data: bytes) -> list[Problem]:
    problems, fix = [], "add --fix OUT.csv, or save it without"
    if data.startswith(BOM):
        found = "a byte order mark, which some readers take for a part of the first column's name"
        problems.append(Problem("doctor.bom", f"{path}: line 1", "UTF-8 without a byte order mark", found, fix))
    if b"\r" in data:
        line = data.count(b"\n", 0, data.index(b"\r")) + 1
        found = "carriage returns, as Windows writes them"
        problems.append(Problem("doctor.line_ends", f"{path}: line {line}", "lines that end with \\n", found, fix))
    return problems


def _strict_records(table: CsvRows) -> list[Record]:
    return [(1, table.header), *zip(table.lines, table.rows, strict=True)]


def _lenient_records(text: str) -> list[Record]:
    """Each line alone, so that a quotation mark without its partner does not swallow the lines after it."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, next(csv.reader([line]), [])) for number, line in enumerate(lines, 1) if line.strip()]


def _cut_off_problems(path: Path, data: bytes) -> list[Problem]:
    if data.endswith((b"\n", b"\r")):
        return []
    place = f"{path}: line {data.count(10) + 1}"
    found = "an end in the middle of this line, so the file may be cut off"
    return [
        Problem("csv.cut_off", place, "a line end after the last row", found, "write the file again, or add the line end if it is whole")
    ]


def _length_problems(path: Path, records: Sequence[Record]) -> list[Problem]:
    wanted = len(records[0][1])
    return [
        Problem("csv.fields", f"{path}: line {line}", f"{wanted} fields, as in the first row", f"{len(fields)} fields", "correct the row")
        for line, fields in records[1:]
        if len(fields) != wanted
    ]


def _columns(place: str, header: Sequence[str], wanted: list[str]) -> tuple[list[int] | None, list[Problem]]:
    """Where image name, class and encoding are, or None if that is unknown; and what is wrong with the header.

    doctor.header can be repaired without a guess, doctor.columns cannot.
    """
    names = [name.strip().lower() for name in header]
    expected, found = f"the header {','.join(wanted)}", ", ".join(map(quoted, header[:20]))
    lower = [name.strip().lower() for name in wanted]
    if all(names.count(name) == 1 for name in lower):
        same = list(header) == wanted
        problem = Problem("doctor.header", place, expected, found, "correct the first line, or add --fix OUT.csv")
        return [names.index(name) for name in lower], [] if same else [problem]
    if _is_row(header):
        return [0, 1, 2], [Problem("doctor.header", place, expected, "none: the first line is a row", "add it, or add --fix OUT.csv")]
    problem = Problem("doctor.columns", place, expected, found, "correct the first line")
    return [0, 1, 2] if len(header) == len(wanted) else None, [problem]


def _is_row(fields: Sequence[str]) -> bool:
    return len(fields) == 3 and ENCODING.fullmatch(fields[2]) is not None


def _row(record: Record, columns: Sequence[int], wanted: int, form: SubmissionParams) -> Row:
    line, fields = record
    image, label, rle = (fields[column] if column < len(fields) else "" for column in columns)
    return Row(line, image, label, text_of_row(rle, form) if len(fields) == wanted else None)
