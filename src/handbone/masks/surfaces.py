"""Surfaces of masks, and how far two of them are apart: exact, from runs. Time and memory grow with the outlines, never with the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handbone.masks.kernels import kernel
from handbone.masks.runs import Intervals, RunLengthMasks, push_pixel, with_growing_buffer

Pointers = NDArray[np.int64]


def surfaces(masks: RunLengthMasks) -> RunLengthMasks:
    """C masks -> their surface pixels: those of which one of the four neighbours is not in the mask, or not in the image."""
    width = masks.shape[1]
    found = with_growing_buffer(lambda intervals: _surfaces(masks.indptr, masks.intervals, width, intervals))
    return RunLengthMasks(masks.shape, *found)


def squared_distances(surface: RunLengthMasks, other: RunLengthMasks) -> tuple[Pointers, NDArray[np.int64]]:
    """For each pixel of C surfaces, the squared Euclidean distance to the nearest pixel of the same class in `other`, in pixels².

    -> indptr (C + 1,) and the distances: those of class c are distances[indptr[c]:indptr[c + 1]], pixel by pixel; none where `other` is
    empty. A ValueError if the shapes or the numbers of classes differ.
    """
    if surface.shape != other.shape or len(surface.indptr) != len(other.indptr):
        raise ValueError(f"surfaces of {surface.shape} and {other.shape} pixels, {len(surface.indptr)} and {len(other.indptr)} pointers")
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.where(np.diff(other.indptr) > 0, surface.areas(), 0))])
    distances = np.empty(indptr[-1], np.int64)
    _squared_distances(surface.indptr, surface.intervals, other.indptr, other.intervals, surface.shape[1], indptr, distances)
    return indptr, distances


@kernel
def _surfaces(indptr: Pointers, intervals: Intervals, width: int, found: Intervals) -> tuple[Pointers, int]:
    """-> indptr and the number of runs of surface pixels."""
    pointers = np.zeros_like(indptr)
    count = 0
    for index in range(len(indptr) - 1):
        above = below = indptr[index]  # the first runs that end behind the neighbours above and below
        last = indptr[index + 1]
        for run in range(indptr[index], last):
            pixel, end = intervals[run]
            first, run_start = pixel, -1
            while pixel < end:
                while above < last and intervals[above, 1] <= pixel - width:
                    above += 1
                while below < last and intervals[below, 1] <= pixel + width:
                    below += 1
                row_end = (pixel // width + 1) * width
                inner = first < pixel < end - 1 and row_end - width < pixel < row_end - 1
                inner = inner and above < last and intervals[above, 0] <= pixel - width
                inner = inner and below < last and intervals[below, 0] <= pixel + width
                run_start, count = push_pixel(not inner, run_start, pixel, pointers[index], found, count)
                if inner:  # and so are all before the first end of these runs and of the row
                    pixel = min(end - 1, row_end - 1, intervals[above, 1] + width, intervals[below, 1] - width)
                else:
                    pixel += 1
            _, count = push_pixel(False, run_start, end, pointers[index], found, count)
        pointers[index + 1] = count
    return pointers, count


@kernel
def _squared_distances(
    indptr: Pointers,
    intervals: Intervals,
    other_indptr: Pointers,
    other_intervals: Intervals,
    width: int,
    at: Pointers,
    distances: NDArray[np.int64],
) -> None:
    """Write the distances of class c from distances[at[c]] on."""
    for index in range(len(indptr) - 1):
        if at[index] == at[index + 1]:
            continue
        others = other_intervals[other_indptr[index] : other_indptr[index + 1]]
        rows = _row_pointers(others, width)
        place = at[index]
        for run in range(indptr[index], indptr[index + 1]):
            row, column = divmod(intervals[run, 0], width)
            for _ in range(intervals[run, 0], intervals[run, 1]):
                distances[place] = _nearest(row, column, others, rows, width)
                place += 1
                column += 1
                if column == width:
                    row, column = row + 1, 0


@kernel
def _row_pointers(intervals: Intervals, width: int) -> Pointers:
    """-> the first row, then for each row to the last: its first run that ends in it or later; then the number of runs."""
    top, bottom = intervals[0, 0] // width, (intervals[-1, 1] - 1) // width
    rows = np.full(bottom - top + 3, len(intervals), np.int64)
    rows[0] = top
    run = 0
    for row in range(top, bottom + 1):
        while intervals[run, 1] <= row * width:
            run += 1
        rows[row - top + 1] = run
    return rows


@kernel
def _nearest(row: int, column: int, intervals: Intervals, rows: Pointers, width: int) -> int:
    """The squared distance from a pixel to the nearest one of the runs: row by row, until the next row alone is farther."""
    top, bottom = rows[0], rows[0] + len(rows) - 3
    best = 2**62
    away = max(0, top - row, row - bottom)
    while away * away < best and (row - away >= top or row + away <= bottom):
        if top <= row - away <= bottom:
            best = min(best, away * away + _across(row - away, column, intervals, rows, width))
        if away > 0 and top <= row + away <= bottom:
            best = min(best, away * away + _across(row + away, column, intervals, rows, width))
        away += 1
    return best


@kernel
def _across(row: int, column: int, intervals: Intervals, rows: Pointers, width: int) -> int:
    """The squared distance along a row from a column to the nearest pixel of the runs; a huge one if the row has none."""
    begin = row * width
    pixel = begin + column
    first = low = rows[row - rows[0] + 1]
    high = min(rows[row - rows[0] + 2] + 1, len(intervals))  # a run that continues into the next row belongs to both
    while low < high:  # the first run that ends behind the pixel
        middle = (low + high) >> 1
        if intervals[middle, 1] <= pixel:
            low = middle + 1
        else:
            high = middle
    across = 2**31
    if low < len(intervals) and intervals[low, 0] < begin + width:
        across = max(0, intervals[low, 0] - pixel)
    if low > first and intervals[low - 1, 1] > begin:
        across = min(across, pixel - intervals[low - 1, 1] + 1)
    return across * across
