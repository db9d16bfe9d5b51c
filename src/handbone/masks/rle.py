"""Run-length encoding as the grader reads it: row-major, starts from 1, `start length start length ...`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handbone.masks.boxed import Mask
from handbone.masks.kernels import kernel
from handbone.masks.runs import Intervals, RunLengthMasks
from handbone.utils.errors import UserError

DIGITS = 20  # at most, of a 64-bit number with the blank behind it
BLANK, ZERO = 32, 48  # in ASCII


def encode(masks: Mask) -> list[str]:
    """(C, H, W) bool -> C strings; an empty mask is an empty string."""
    return encode_runs(RunLengthMasks.from_dense(np.asarray(masks, bool)))


def encode_runs(masks: RunLengthMasks) -> list[str]:
    """C masks as runs -> C strings."""
    text = np.empty(2 * DIGITS * len(masks.intervals), np.uint8)
    ends = _write(masks.indptr, masks.intervals, text)
    letters = text[: ends[-1]].tobytes().decode("ascii")
    return [letters[start:end].rstrip() for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]


def decode(text: str, height: int, width: int) -> Mask:
    """A string -> (H, W) bool. Raises `UserError` for what is no run-length encoding of such a mask."""
    mask: Mask = decode_runs([text], height, width).boxed().dense()[0]
    return mask


def decode_runs(texts: Sequence[str], height: int, width: int) -> RunLengthMasks:
    """C strings -> C masks of one (H, W) image. Raises `UserError` for the first that is no run-length encoding of such a mask."""
    intervals = np.empty((sum(len(text) for text in texts) // 2 + len(texts), 2), np.int64)
    indptr = np.zeros(len(texts) + 1, np.int64)
    for index, text in enumerate(texts):
        found = _read(np.frombuffer(text.encode(), np.uint8), height * width, intervals, indptr[index])
        if found < 0:
            expected = f"pairs of start and length, rising and inside 1 to {height * width}"
            raise UserError(f"RLE: expected {expected}; found {text[:40]!r}; check the file, and the size of the image")
        indptr[index + 1] = found
    return RunLengthMasks((height, width), indptr, intervals[: indptr[-1]].copy())


@kernel
def _write(indptr: NDArray[np.int64], intervals: Intervals, text: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Each mask's numbers with a blank behind each -> where each mask's letters begin, and where the last one's end."""
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
    """Append the text's runs to the first `count` intervals -> their number, or -1 for what is no encoding of so many pixels."""
    first, start, at = count, -1, 0
    while at < len(text):
        if text[at] == BLANK:
            at += 1
            continue
        number = 0
        while at < len(text) and text[at] != BLANK:
            digit = int(text[at]) - ZERO
            if digit < 0 or digit > 9 or number > pixels:
                return -1
            number = number * 10 + digit
            at += 1
        if number < 1:
            return -1
        if start < 0:
            start = number - 1
            if count > first and start < intervals[count - 1, 1]:
                return -1
            continue
        if start + number > pixels:
            return -1
        if count > first and start == intervals[count - 1, 1]:  # runs that touch are one
            intervals[count - 1, 1] = start + number
        else:
            intervals[count, 0] = start
            intervals[count, 1] = start + number
            count += 1
        start = -1
    return count if start < 0 else -1
