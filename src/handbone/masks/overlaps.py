"""Pixels that masks of one image share: a sweep over the runs of all of them. Time and memory grow with the outlines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handbone.masks.kernels import kernel
from handbone.masks.runs import Intervals, RunLengthMasks

Pixels = NDArray[np.int64]


@dataclass(frozen=True)
class Overlaps:
    """Pixels of C masks.

    shared: (C, C) in both masks; the diagonal holds the areas. multiple: (C,) of each mask that are in another one too. kept: (C,) of each
    mask if every pixel belongs to the smallest of its masks alone (of equal ones, to the first).
    covered: in any mask; contested: in several.
    """

    shared: Pixels
    multiple: Pixels
    kept: Pixels
    covered: int
    contested: int


def overlaps(masks: RunLengthMasks) -> Overlaps:
    """C masks -> what they share."""
    classes = len(masks.indptr) - 1
    of_run = np.repeat(np.arange(classes), np.diff(masks.indptr))
    starts, ends = (np.argsort(masks.intervals[:, side], kind="stable") for side in (0, 1))
    order = np.argsort(masks.areas(), kind="stable")
    rank = np.empty(classes, np.int64)
    rank[order] = np.arange(classes)
    return Overlaps(*_sweep(masks.intervals, of_run, starts, ends, rank))


@kernel
def _sweep(intervals: Intervals, of_run: Pixels, starts: Pixels, ends: Pixels, rank: Pixels) -> tuple[Pixels, Pixels, Pixels, int, int]:
    """of_run: the mask of each run; starts, ends: the order of the runs by start and by end; rank: of masks, the lowest keeps a pixel."""
    classes = len(rank)
    shared, multiple, kept = np.zeros((classes, classes), np.int64), np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    inside = np.empty(classes, np.int64)  # the masks that the pixel is in: the first `count`
    count, pixel, covered, contested, start = 0, 0, 0, 0, 0
    for end in range(len(ends)):
        position = intervals[ends[end], 1]
        while True:  # stop at each run that starts before the next one ends, then at that end
            begins = start < len(starts) and intervals[starts[start], 0] < position
            here = intervals[starts[start], 0] if begins else position
            _add(shared, multiple, kept, inside[:count], rank, here - pixel)
            covered += (here - pixel) * (count > 0)
            contested += (here - pixel) * (count > 1)
            pixel = here
            if not begins:
                break
            inside[count] = of_run[starts[start]]
            count += 1
            start += 1
        for place in range(count):
            if inside[place] == of_run[ends[end]]:
                inside[place] = inside[count - 1]
                count -= 1
                break
    return shared, multiple, kept, covered, contested


@kernel
def _add(shared: Pixels, multiple: Pixels, kept: Pixels, inside: Pixels, rank: Pixels, pixels: int) -> None:
    """Count pixels that are in the masks `inside`."""
    if pixels == 0 or len(inside) == 0:
        return
    least = inside[0]
    for one in inside:
        if rank[one] < rank[least]:
            least = one
        if len(inside) > 1:
            multiple[one] += pixels
        for other in inside:
            shared[one, other] += pixels
    kept[least] += pixels
