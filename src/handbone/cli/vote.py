"""`handbone vote a.csv b.csv c.csv -o out.csv`: the majority vote of several submissions, pixel by pixel."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from handbone.config.params import submission_params
from handbone.submission.alignment import read_aligned
from handbone.submission.csv import write_submission
from handbone.submission.vote import vote_rows
from handbone.utils.csv_rows import quoted
from handbone.utils.errors import Problem, UserError, raise_if_any

NUMBER = re.compile(r"\d{1,6}(\.\d{1,6})?", re.ASCII)


def write_vote(files: Sequence[Path], out: Path, weights: Sequence[str] | None, least: str | None) -> None:
    """Write the vote of the submissions to `out`, and print how many rows it has. weights, least: as `parse_votes` takes them.

    Raises `UserError` with the faults of the options, or of all files; then `out` is as before.
    """
    parsed, needed = parse_votes(len(files), weights, least)
    form = submission_params()
    submissions = read_aligned(files, form)
    write_submission(out, vote_rows(submissions, parsed, needed), form)
    print(f"{out}: {len(submissions.files[0].names)} rows, the vote of {len(files)} submissions")


def parse_votes(files: int, weights: Sequence[str] | None, least: str | None) -> tuple[list[int], int]:
    """The options as typed -> a weight per file, and the sum of weights from which a pixel counts, in whole numbers of one scale.

    weights: one number above 0 per file; null: 1 each. least: a number above 0, at most the sum of the weights; null: more than half of it.
    Raises `UserError` (vote.files, vote.weights, vote.min) with every fault. Whole numbers, because 0.1 + 0.2 > 0.3 in floating point.
    """
    typed = ["1"] * files if weights is None else weights
    problems = []
    if files < 2:
        problems.append(Problem("vote.files", "handbone vote", "two submissions or more", str(files), "name the submissions to join"))
    if len(typed) != files:
        found = f"{len(typed)} for {files} files"
        problems.append(Problem("vote.weights", "--weights", "one number per file", found, "give as many as files, as in 2,1,1"))
    problems += [_not_a_number("vote.weights", "--weights", text) for text in typed if not _is_number(text)]
    problems += [_not_a_number("vote.min", "--min", text) for text in [least] if text is not None and not _is_number(text)]
    raise_if_any(problems, "")
    numbers = [Fraction(text) for text in typed]
    if least is not None and Fraction(least) > sum(numbers):
        expected = f"at most {float(sum(numbers)):g}, the sum of the weights"
        raise UserError(Problem("vote.min", "--min", expected, quoted(least), "give a smaller one, or every mask would be empty"))
    scale = math.lcm(*(number.denominator for number in numbers))
    scaled = [int(number * scale) for number in numbers]
    return scaled, sum(scaled) // 2 + 1 if least is None else math.ceil(Fraction(least) * scale)


def _is_number(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None and Fraction(text) > 0


def _not_a_number(code: str, place: str, text: str) -> Problem:
    expected = "numbers above 0, as 2 or 0.5, with at most six digits before and after the point"  # whose sums fit into 64 bits
    return Problem(code, place, expected, quoted(text), "correct it")
