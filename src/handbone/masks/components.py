"""Connected components of masks and clean-up by them, run by run: time grows with the outlines, never with the pixels.

Components are 8-connected. Holes are what `scipy.ndimage.binary_fill_holes` fills: 4-connected background that does not touch the image's
border. So each hole and each component inside of another lies in exactly one component's outline (the adjacency tree: Rosenfeld,
Adjacency in digital pictures, Information and Control 26, 1974), and the counts under every rule follow from sums per component.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from handbone.masks.kernels import kernel
from handbone.masks.runs import Intervals, RunLengthMasks, push_pixel, with_growing_buffer

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
OUTSIDE = -1  # in no component's outline


@dataclass(frozen=True)
class Rules:
    """How each of C masks is cleaned up: components are dropped first, then holes are filled.

    largest: (C,) bool, keep only the largest component, of equal ones the first in row-major order;
    min_area: (C,) int64, drop components of fewer pixels, 0 or 1: none; fill_holes: (C,) bool.
    Filling is that of `binary_fill_holes` after dropping: all pixels inside of a kept component's outline are set, also those of a dropped
    component there; a dropped component's holes vanish with it.
    """

    largest: Flags
    min_area: Ints
    fill_holes: Flags


@dataclass(frozen=True)
class Components:
    """The R components of C masks of one image, class by class in row-major order of their first pixels: the counts under every rule.

    indptr: (C + 1,) int64; the components of mask c are the rows indptr[c]:indptr[c + 1] of the following.
    sums: (R, 2) int64, pixels of each component, and those of them in the truth.
    filled: (R, 2) int64, the same of everything inside of its outline: the component, its holes, and the components in these.
    parents: (R,) int64, the component in a hole of which this one is, counted in its class from 0, or `OUTSIDE`; it comes before.
    truth_areas: (C,) int64 pixels.
    """

    indptr: Ints
    sums: Ints
    filled: Ints
    parents: Ints
    truth_areas: Ints

    @classmethod
    def of(cls, masks: RunLengthMasks, truth: RunLengthMasks) -> Components:
        """C masks and C true masks of one image; a ValueError if their shapes or numbers differ."""
        if masks.shape != truth.shape or len(masks.indptr) != len(truth.indptr):
            raise ValueError(
                f"masks of {masks.shape} and {truth.shape} pixels, {len(masks.indptr) - 1} and {len(truth.indptr) - 1} classes"
            )
        classes = zip(_by_class(masks), _by_class(truth), strict=True)
        parts = [_component_sums(runs, true_runs, masks.shape[1]) for runs, true_runs in classes]
        sums, filled, parents = (np.concatenate(column) for column in zip(*parts, strict=True))
        indptr = np.cumsum([0] + [len(part[2]) for part in parts], dtype=np.int64)
        return cls(indptr, sums, filled, parents, truth.areas())

    def counts(self, rules: Rules) -> Ints:
        """-> (C, 3) true positive, false positive, false negative of the cleaned masks: those of `clean`, without masks."""
        given = rules.largest, rules.min_area, rules.fill_holes
        areas, both = _cleaned_sums(self.indptr, self.sums, self.filled, self.parents, *given).T
        return np.stack([both, areas - both, self.truth_areas - both], 1)


def clean(masks: RunLengthMasks, rules: Rules) -> RunLengthMasks:
    """C masks -> C masks of one image, each cleaned up by its rules."""
    source = masks.indptr, masks.intervals, masks.shape[1]
    given = rules.largest, rules.min_area, rules.fill_holes
    return RunLengthMasks(masks.shape, *with_growing_buffer(lambda intervals: _cleaned_runs(*source, *given, intervals)))


def _by_class(masks: RunLengthMasks) -> list[Intervals]:
    return [masks.intervals[start:end] for start, end in pairwise(masks.indptr.tolist())]


@kernel
def _cleaned_runs(
    indptr: Ints, intervals: Intervals, width: int, largest: Flags, min_area: Ints, fill_holes: Flags, cleaned: Intervals
) -> tuple[Ints, int]:
    """-> indptr and the number of the `cleaned` intervals."""
    ends = np.zeros(len(indptr), np.int64)
    count = 0
    for index in range(len(indptr) - 1):
        starts, foreground, owners, parents = _label(intervals[indptr[index] : indptr[index + 1]], width)
        areas = np.zeros(len(parents), np.int64)
        for piece in range(len(owners)):
            if foreground[piece]:
                areas[owners[piece]] += starts[piece + 1] - starts[piece]
        kept = _kept(areas, largest[index], min_area[index])
        shown = kept | _covered(kept, parents) if fill_holes[index] else kept
        first, run_start = count, -1
        for piece in range(len(owners)):
            inside = owners[piece] >= 0 and shown[owners[piece]] and (fill_holes[index] or foreground[piece])
            run_start, count = push_pixel(inside, run_start, starts[piece], first, cleaned, count)
        _, count = push_pixel(False, run_start, starts[-1], first, cleaned, count)
        ends[index + 1] = count
    return ends, count


@kernel
def _cleaned_sums(indptr: Ints, sums: Ints, filled: Ints, parents: Ints, largest: Flags, min_area: Ints, fill_holes: Flags) -> Ints:
    """-> (C, 2) pixels of the cleaned masks, and those in the truth; sums, filled, parents: as of `Components`."""
    found = np.zeros((len(indptr) - 1, 2), np.int64)
    for index in range(len(found)):
        start, end = indptr[index], indptr[index + 1]
        kept = _kept(sums[start:end, 0], largest[index], min_area[index])
        covered = _covered(kept, parents[start:end])
        for component in range(end - start):
            if kept[component] and not fill_holes[index]:
                found[index] += sums[start + component]
            elif kept[component] and not covered[component]:
                found[index] += filled[start + component]
    return found


@kernel
def _kept(areas: Ints, largest: bool, min_area: int) -> Flags:
    """Which of one class's components are not dropped."""
    kept = areas >= min_area
    if largest and len(areas):
        first = np.argmax(areas)  # the first of equal ones
        alone = kept[first]
        kept[:] = False
        kept[first] = alone
    return kept


@kernel
def _covered(kept: Flags, parents: Ints) -> Flags:
    """Which of one class's components are inside of the outline of a kept one; parents come before what is inside of them."""
    covered = np.zeros(len(kept), np.bool_)
    for component in range(len(kept)):
        parent = parents[component]
        covered[component] = parent >= 0 and (kept[parent] or covered[parent])
    return covered


@kernel
def _component_sums(runs: Intervals, truth: Intervals, width: int) -> tuple[Ints, Ints, Ints]:
    """One class -> (R, 2) areas and overlaps of the components, (R, 2) of all in their outlines, (R,) parents."""
    starts, foreground, owners, parents = _label(runs, width)
    sums = np.zeros((len(parents), 2), np.int64)
    filled = np.zeros((len(parents), 2), np.int64)
    run = 0
    for piece in range(len(owners)):
        start, end, owner = starts[piece], starts[piece + 1], owners[piece]
        if owner < 0:
            continue
        while run < len(truth) and truth[run, 1] <= start:
            run += 1
        shared, other = 0, run
        while other < len(truth) and truth[other, 0] < end:
            shared += min(truth[other, 1], end) - max(truth[other, 0], start)
            other += 1
        filled[owner, 0] += end - start
        filled[owner, 1] += shared
        if foreground[piece]:
            sums[owner, 0] += end - start
            sums[owner, 1] += shared
    for component in range(len(parents) - 1, -1, -1):  # what is inside of a component comes after it
        if parents[component] >= 0:
            filled[parents[component]] += filled[component]
    return sums, filled, parents


@kernel
def _label(runs: Intervals, width: int) -> tuple[Ints, Flags, Ints, Ints]:
    """One class -> starts, foreground, owners, parents: its components and holes as pieces of rows.

    The P pieces are the runs and the gaps between them, cut at the ends of rows, in the rows from the first to the last run.
    starts: (P + 1,) the first pixel of each, and the end of the last; foreground: (P,);
    owners: (P,) the component that the piece is a part of, or of a gap: that it is in a hole of, or `OUTSIDE`;
    parents: (R,) the component in a hole of which this one is, or `OUTSIDE`.
    """
    starts, foreground, rows = _pieces(runs, width)
    links = np.arange(len(foreground) + 1)  # union-find: piece i is node i + 1, node 0 is the background around everything
    for row in range(len(rows) - 1):
        for piece in range(rows[row], rows[row + 1]):
            on_border = row == 0 or row == len(rows) - 2 or starts[piece] % width == 0 or starts[piece + 1] % width == 0
            if on_border and not foreground[piece]:
                _join(links, piece + 1, 0)
        if row:
            _join_rows(starts, foreground, rows[row - 1], rows[row], rows[row + 1], width, links)
    owners = np.full(len(foreground), OUTSIDE, np.int64)
    parents = np.empty(len(runs) + len(rows), np.int64)
    count = 0
    for piece in range(len(foreground)):
        root = _find(links, piece + 1)
        if root == piece + 1:  # the first of its component or hole: the piece on its left is of what is around it
            around = owners[piece - 1] if starts[piece] % width else OUTSIDE
            if foreground[piece]:
                parents[count] = around
                around = count
                count += 1
            owners[piece] = around
        elif root:
            owners[piece] = owners[root - 1]
    return starts, foreground, owners, parents[:count]


@kernel
def _pieces(runs: Intervals, width: int) -> tuple[Ints, Flags, Ints]:
    """-> starts and foreground as of `_label`, and rows: the first piece of each row, and the number of all pieces."""
    top = runs[0, 0] // width if len(runs) else 0
    bottom = (runs[-1, 1] - 1) // width + 1 if len(runs) else 0
    most = 2 * len(runs) + bottom - top  # pieces: one begins at each end of a run, and at each row
    starts, foreground, rows = np.empty(most + 1, np.int64), np.empty(most, np.bool_), np.empty(bottom - top + 1, np.int64)
    position, count = top * width, 0
    for edge in range(2 * len(runs) + 1):
        end = runs[edge // 2, edge % 2] if edge < 2 * len(runs) else bottom * width
        while position < end:
            if position % width == 0:
                rows[position // width - top] = count
            starts[count], foreground[count] = position, edge % 2 == 1
            position = min(end, (position // width + 1) * width)
            count += 1
    starts[count], rows[-1] = position, count
    return starts[: count + 1], foreground[:count], rows


@kernel
def _join_rows(starts: Ints, foreground: Flags, upper: int, lower: int, end: int, width: int, links: Ints) -> None:
    """Join the pieces of two rows, upper:lower and lower:end, that are connected: 8-connected foreground, 4-connected background."""
    above, below = upper, lower
    while above < lower and below < end:  # these two share a column
        if foreground[above] == foreground[below]:
            _join(links, above + 1, below + 1)
        upper_end, lower_end = starts[above + 1] + width, starts[below + 1]
        if upper_end == lower_end and foreground[above] != foreground[below] and above + 1 < lower:
            if foreground[above]:  # at a corner the foreground is connected
                _join(links, above + 1, below + 2)
            else:
                _join(links, above + 2, below + 1)
        above += upper_end <= lower_end
        below += lower_end <= upper_end


@kernel
def _join(links: Ints, one: int, other: int) -> None:
    """Join two sets of nodes; the root of a set is its smallest node."""
    one, other = _find(links, one), _find(links, other)
    links[max(one, other)] = min(one, other)


@kernel
def _find(links: Ints, node: int) -> int:
    """-> the root of the node's set; halves the path to it."""
    while links[node] != node:
        links[node] = links[links[node]]
        node = links[node]
    return node
