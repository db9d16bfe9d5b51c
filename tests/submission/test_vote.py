"""The vote over runs equals the vote over pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handbone.masks.boxed import BoxedMasks
from handbone.masks.runs import RunLengthMasks
from handbone.submission.vote import vote

KINDS = ("empty", "full", "sparse", "half", "dense", "rows", "chessboard", "first", "last")


def mask(kind: str, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """One (H, W) mask of that kind."""
    y, x = np.indices((height, width))
    shares = {"empty": 0, "full": 1, "sparse": 0.1, "half": 0.5, "dense": 0.9}
    if kind in shares:
        return rng.random((height, width)) < shares[kind]
    return {"rows": y % 2 == 1, "chessboard": (y + x) % 2 == 0, "first": y + x == 0, "last": y * width + x == height * width - 1}[kind]


@st.composite
def ballots(draw: st.DrawFn) -> tuple[np.ndarray, list[int], int]:
    """(N, C, H, W) masks, N weights, and the sum from which a pixel counts: any, also ties and all of the weights."""
    files, classes, height, width = (draw(st.integers(1, most)) for most in (6, 4, 9, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=files * classes, max_size=files * classes))
    masks = np.stack([mask(kind, height, width, rng) for kind in kinds]).reshape(files, classes, height, width)
    weights = draw(st.lists(st.integers(1, 4) | st.just(10**12), min_size=files, max_size=files))
    return masks, weights, draw(st.integers(1, sum(weights)) | st.just(sum(weights) // 2 + 1))


def voted(masks: np.ndarray, weights: list[int], least: int) -> RunLengthMasks:
    return vote([RunLengthMasks.from_boxed(BoxedMasks.from_dense(one)) for one in masks], weights, least)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(ballots())
def test_it_equals_the_vote_over_pixels(ballot: tuple[np.ndarray, list[int], int]) -> None:
    """Run by run, not only pixel by pixel: runs that touch would not be written as the format has them."""
    masks, weights, least = ballot
    pixels = np.tensordot(np.array(weights), masks.astype(np.int64), 1) >= least
    expected, found = RunLengthMasks.from_boxed(BoxedMasks.from_dense(pixels)), voted(masks, weights, least)
    assert found.indptr.tolist() == expected.indptr.tolist() and found.intervals.tolist() == expected.intervals.tolist()


@pytest.mark.parametrize(
    ("weights", "least", "expected"),
    [
        ([1, 1, 1], 2, [0, 1, 1, 0, 0, 1]),
        ([1, 1, 1], 1, [1, 1, 1, 1, 0, 1]),
        ([1, 1, 1], 3, [0, 0, 0, 0, 0, 1]),
        ([3, 1, 1], 3, [1, 1, 0, 0, 0, 1]),  # the first file alone has more than half
    ],
)
def test_known_masks(weights: list[int], least: int, expected: list[int]) -> None:
    masks = np.array([[1, 1, 0, 0, 0, 1], [0, 1, 1, 0, 0, 1], [0, 0, 1, 1, 0, 1]], bool).reshape(3, 1, 2, 3)
    assert voted(masks, weights, least).boxed().dense().astype(int).ravel().tolist() == expected


def test_masks_of_other_numbers_of_classes_are_no_votes() -> None:
    one, two = (RunLengthMasks.from_boxed(BoxedMasks.from_dense(np.ones((count, 2, 3), bool))) for count in (1, 2))
    with pytest.raises(ValueError, match="shape"):
        vote([one, two], [1, 1], 1)
