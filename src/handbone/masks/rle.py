"""Run-length encoding as the grader reads it: row-major, starts from 1, `start length start length ...`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handbone.masks.kernels import kernel
from handbone.masks.runs import Intervals, RunLengthMasks
from handbone.utils.csv_rows import quoted
from handbone.utils.errors import Problem, raise_if_any

DIGITS = 20  # maximum length of a 64-bit number and the blank after it
BLANK, ZERO = 32, 48  # in ASCII
NOT_A_NUMBER, ODD, NO_START, NO_LENGTH, NOT_RISING, BEYOND = -1, -2, -3, -4, -5, -6
FAULTS = {
    NOT_A_NUMBER: "something other than whole numbers and blanks",
    ODD: "an odd number of numbers",
    NO_START: "a start of 0, but starts count from 1",
    NO_LENGTH: "a length of 0",
    NOT_RISING: "runs that overlap or are not sorted",
    BEYOND: "a run beyond the last pixel",
}


def encode_runs(masks: RunLengthMasks) -> list[str]:
    """C masks -> C strings; an empty mask gives an empty string."""
    text = np.empty(2 * DIGITS * len(masks.intervals), np.uint8)
    ends = _write(masks.indptr, masks.intervals, text)
    letters = text[: ends[-1]].tobytes().decode("ascii")
    return [letters[start:end].rstrip() for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]


def decode_runs(texts: Sequence[str], height: int, width: int, places: Sequence[str] = ()) -> RunLengthMasks:
    """C strings -> C masks of one (H, W) image.

    places: where each string is, for errors. Raises `UserError` (rle.syntax) with every string that does not encode such a mask.
    """
    intervals = np.empty((sum(len(text) for text in texts) // 2 + len(texts), 2), np.int64)
    indptr = np.zeros(len(texts) + 1, np.int64)
    problems = []
    for index, text in enumerate(texts):
        count = _read(np.frombuffer(text.encode(errors="replace"), np.uint8), height * width, intervals, indptr[index])
        if count < 0:
            problems.append(_problem(places[index] if places else f"mask {index}", text, FAULTS[count], height, width))
        indptr[index + 1] = max(count, indptr[index])
    raise_if_any(problems, "")
    return RunLengthMasks((height, width), indptr, intervals[: indptr[-1]].copy())


def _problem(place: str, text: str, fault: str, height: int, width: int) -> Problem:
    expected = f"pairs of start and length, rising and inside 1 to {height * width} ({height} x {width} pixels)"
    fix = "correct the encoding (an empty mask is an empty field), or check the size of the image"
    return Problem("rle.syntax", place, expected, f"{fault} in {quoted(text)}", fix)


@kernel
def _write(indptr: NDArray[np.int64], intervals: Intervals, text: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Write each mask's numbers, one blank after each, into `text` -> (C + 1,) index of each mask's first letter, and of the end."""
    ends = np.zeros(len(indptr), np.int64)
    at = 0
    for index in range(len(indptr) - 1):
        for run in range(indptr[index], indptr[index + 1]):
            for number in (intervals[run, 0] + 1, intervals[run, 1] - intervals[run, 0]):
                digits = 1
                limit = 10
                while digits < DIGITS - 1 and number >= limit:
                    digits += 1
                    limit *= 10
                for place in range(digits):
                    text[at + digits - 1 - place] = ZERO + number % 10
                    number //= 10
                text[at + digits] = BLANK
                at += digits + 1
        ends[index + 1] = at
    return ends


@kernel
def _read(text: NDArray[np.uint8], pixels: int, intervals: Intervals, count: int) -> int:
    """Append the text's runs to the first `count` intervals -> the new count, or one of `FAULTS`."""
    first, start, at = count, -1, 0
    while at < len(text):
        if text[at] == BLANK:
            at += 1
            continue
        number = 0
        while at < len(text) and text[at] != BLANK:
            digit = int(text[at]) - ZERO
            if digit < 0 or digit > 9:
                return NOT_A_NUMBER
            if number > pixels:
                return BEYOND
            number = number * 10 + digit
            at += 1
        if number < 1:
            return NO_START if start < 0 else NO_LENGTH
        if start < 0:
            start = number - 1
            if count > first and start < intervals[count - 1, 1]:
                return NOT_RISING
            continue
        if start + number > pixels:
            return BEYOND
        if count > first and start == intervals[count - 1, 1]:  # runs that touch are one
            intervals[count - 1, 1] = start + number
        else:
            intervals[count, 0] = start
            intervals[count, 1] = start + number
            count += 1
        start = -1
    return count if start < 0 else ODD
