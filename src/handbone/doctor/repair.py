"""Repairs of a submission that need no guess: what they change is how the masks are written, never which pixels are in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handbone.doctor.examine import Expected
from handbone.doctor.rows import known_rows
from handbone.doctor.runs import image_runs
from handbone.doctor.table import Row, Table, read_rows
from handbone.masks.rle import encode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import write_submission
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.names import composed

TIDY = {"doctor.bom": "byte order mark removed", "doctor.line_ends": "line ends changed to \\n", "doctor.header": "header corrected"}
RUNS = {"unsorted": "runs sorted", "overlap": "runs that overlap merged", "touching": "runs without a gap merged"}


def repair(path: Path, out: Path, expected: Expected) -> list[str]:
    """Write the submission to `out`, repaired -> what was done, a line each. What cannot be repaired stays as it is.

    Raises `UserError` if `out` is the submission itself, and if the file is so broken that rows may be lost: nothing is written then.
    """
    if out.exists() and path.exists() and out.samefile(path):
        raise UserError(Problem("doctor.out", str(out), "another file than the submission", "the same", "name another file after --fix"))
    table = read_rows(path, expected.form)
    raise_if_any([problem for problem in table.problems if problem.code not in TIDY], f"{path} cannot be repaired without a guess")
    done = [f"{problem.place}: {TIDY[problem.code]}" for problem in table.problems]
    rows = _ordered(table, expected)
    done += ["rows sorted by image and class"] if rows != table.rows else []
    shapes = {composed(name): expected.encoded_shape(key) for key, (name, _, _) in expected.images.items()}
    tidied = [_tidied(row, shapes.get(composed(row.image))) for row in rows]
    write_submission(out, [(row.image, row.label, text) for row, (text, _) in zip(rows, tidied, strict=True)], expected.form)
    return done + [f"{table.place(row)}: {', '.join(kinds)}" for row, (_, kinds) in zip(rows, tidied, strict=True) if kinds]


def _ordered(table: Table, expected: Expected) -> list[Row]:
    """The rows in the order of the submission; unknown and repeated ones after them."""
    found, _ = known_rows(table, expected.images, expected.classes)
    first = [found[key, label] for key in expected.images for label in expected.classes if (key, label) in found]
    lines = {row.line for row in first}
    return first + [row for row in table.rows if row.line not in lines]


def _tidied(row: Row, shape: tuple[int, int] | None) -> tuple[str, list[str]]:
    """The encoding with sorted and merged runs, and what was done to it. shape: of the image as encoded; None: an unknown one."""
    text = row.rle or ""
    runs = None if shape is None else image_runs([text], shape)[0]
    if shape is None or runs is None or runs.intervals is None or not runs.kinds:
        return text, []
    pointers = np.array([0, len(runs.intervals)], np.int64)
    return encode_runs(RunLengthMasks(shape, pointers, runs.intervals))[0], [RUNS[kind] for kind in runs.kinds]
