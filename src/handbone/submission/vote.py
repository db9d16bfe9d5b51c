"""The majority vote of several masks, run by run: time grows with the outlines, never with the pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from handbone.masks.kernels import kernel
from handbone.masks.rle import encode_runs
from handbone.masks.runs import Intervals, RunLengthMasks
from handbone.submission.alignment import AlignedSubmissions
from handbone.submission.csv import SubmissionRow, image_rows

END = 2**63 - 1  # beyond every pixel


def vote_rows(submissions: AlignedSubmissions, weights: Sequence[int], least: int) -> Iterator[SubmissionRow]:
    """The rows of the vote, in the order of the first of N submissions. weights, least: as of `vote`.

    Raises `UserError` at the end if an encoding is invalid (`AlignedSubmissions.images`).
    """
    for image in submissions.images():
        yield from image_rows(image.name, image.classes, encode_runs(vote(image.masks, weights, least)))


def vote(masks: Sequence[RunLengthMasks], weights: Sequence[int], least: int) -> RunLengthMasks:
    """N times the C masks of one image -> C masks of the pixels that are set in masks whose weights sum up to `least` or more.

    weights: N whole numbers above 0, so that a tie is a tie; least: a whole number above 0.
    """
    starts = np.cumsum([0] + [len(one.intervals) for one in masks[:-1]], dtype=np.int64)
    indptr = np.stack([one.indptr for one in masks]) + starts[:, None]
    edges = np.concatenate([one.intervals for one in masks]).reshape(-1)
    intervals = np.empty((len(edges) // 2, 2), np.int64)  # room for all, as each run of the vote starts where a run of a mask does
    ends = _vote(2 * indptr, edges, np.array(weights, np.int64), least, intervals)
    return RunLengthMasks(masks[0].shape, ends, intervals[: ends[-1]].copy())


@kernel
def _vote(
    indptr: NDArray[np.int64], edges: NDArray[np.int64], weights: NDArray[np.int64], least: int, intervals: Intervals
) -> NDArray[np.int64]:
    """Merge the edges of each class, which rise in every mask and begin and end a run in turn -> (C + 1,) indptr of `intervals`.

    indptr: (N, C + 1); the edges of mask c of file n are edges[indptr[n, c]:indptr[n, c + 1]].
    """
    files, classes = len(weights), indptr.shape[1] - 1
    ends = np.zeros(classes + 1, np.int64)
    count = 0
    for index in range(classes):
        at = indptr[:, index].copy()
        votes, run_start = 0, -1
        while True:
            pixel = END
            for file in range(files):
                if at[file] < indptr[file, index + 1]:
                    pixel = min(pixel, edges[at[file]])
            if pixel == END:
                break
            for file in range(files):
                if at[file] < indptr[file, index + 1] and edges[at[file]] == pixel:
                    begins = (at[file] - indptr[file, index]) % 2 == 0
                    votes += weights[file] if begins else -weights[file]
                    at[file] += 1
            if votes >= least and run_start < 0:
                run_start = pixel
            elif votes < least and run_start >= 0:
                intervals[count, 0], intervals[count, 1] = run_start, pixel
                count += 1
                run_start = -1
        ends[index + 1] = count
    return ends
