"""The runs of one row: what is wrong with them, and what they encode if that is certain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handbone.masks.rle import decode_runs
from handbone.masks.runs import Intervals
from handbone.utils.errors import UserError

INTEGER = re.compile(r"-?[0-9]{1,400}", re.ASCII)
FAULTS = {  # kind: expected, found, fix
    "not_numbers": ("whole numbers with blanks between them", "something else", "correct the encoding; an empty mask is an empty field"),
    "odd": ("pairs of start and length", "an odd number of numbers", "add what is missing, perhaps cut off at the end"),
    "start": ("starts that count pixels from 1", "a start below 1", "add 1 to all starts if they count from 0"),
    "length": ("lengths of at least 1", "a length of 0 or below", "remove the run"),
    "range": ("runs inside of the image", "a run beyond the last pixel", "check the size of the image that was encoded"),
    "unsorted": ("runs that rise", "runs that are not sorted", "sort them, or add --fix OUT.csv"),
    "overlap": ("runs that share no pixel", "runs that overlap", "merge them, or add --fix OUT.csv"),
    "touching": ("a gap between runs", "runs without a gap, which could be one run", "merge them, or add --fix OUT.csv"),
}


@dataclass(frozen=True)
class Runs:
    """kinds: keys of `FAULTS`; intervals: (R, 2) start and exclusive end from 0, sorted and merged, None if the text leaves them open."""

    kinds: list[str]
    intervals: Intervals | None


def image_runs(texts: Sequence[str], shape: tuple[int, int]) -> list[Runs]:
    """The encodings of one (H, W) image -> what is in each. Those without a fault take the fast way."""
    try:
        masks = decode_runs(texts, *shape)
    except UserError:
        return [examine_runs(text, shape[0] * shape[1]) for text in texts]
    intervals = [masks.intervals[start:end] for start, end in zip(masks.indptr[:-1], masks.indptr[1:], strict=True)]
    return [
        Runs([] if len(text.split()) == 2 * len(runs) else ["touching"], runs)  # decoding merges runs that touch
        for text, runs in zip(texts, intervals, strict=True)
    ]


def examine_runs(text: str, pixels: int) -> Runs:
    """A run-length encoding of an image of so many pixels -> every kind of fault in it, and its runs."""
    words = text.split(" ")
    words = [word for word in words if word]
    if not all(INTEGER.fullmatch(word) for word in words):
        return Runs(["not_numbers"], None)
    numbers = [int(word) for word in words]
    starts, lengths = numbers[: len(numbers) // 2 * 2 : 2], numbers[1::2]
    kinds = [
        kind
        for kind, is_so in (
            ("odd", len(numbers) % 2 == 1),
            ("start", any(start < 1 for start in starts)),
            ("length", any(length < 1 for length in lengths)),
            ("range", any(start - 1 + length > pixels for start, length in zip(starts, lengths, strict=True))),
        )
        if is_so
    ]
    runs = sorted(zip(starts, lengths, strict=True))
    ends = [start + length for start, length in runs]
    gaps = [start - end for (start, _), end in zip(runs[1:], ends, strict=False)]
    sorted_before = starts == sorted(starts)
    kinds += [
        kind for kind, is_so in (("unsorted", not sorted_before), ("overlap", min(gaps, default=1) < 0), ("touching", 0 in gaps)) if is_so
    ]
    return Runs(kinds, None if set(kinds) & {"odd", "start", "length", "range"} else _merged(runs))


def _merged(runs: list[tuple[int, int]]) -> Intervals:
    """Sorted starts from 1 and lengths -> the runs of their union."""
    intervals: list[list[int]] = []
    for start, length in runs:
        if intervals and start - 1 <= intervals[-1][1]:
            intervals[-1][1] = max(intervals[-1][1], start - 1 + length)
        else:
            intervals.append([start - 1, start - 1 + length])
    return np.array(intervals, np.int64).reshape(-1, 2)
