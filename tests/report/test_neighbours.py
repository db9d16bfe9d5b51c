"""Confused neighbours are counted as their definition says."""

from __future__ import annotations

import numpy as np

from handbone.masks.boxed import BoxedMasks
from handbone.report.layers import Shown
from handbone.report.neighbours import covered_pixels, neighbours_section


def test_pixels_are_those_of_the_definition() -> None:
    """Of the prediction of a, without the truth of a, within the truth of b; bones overlap."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        masks = np.zeros((2, 4, 40, 30), bool)
        for mask in masks.reshape(-1, 40, 30)[rng.random(8) < 0.9]:
            y, x = rng.integers(0, (30, 20))
            mask[y : y + 10, x : x + 10] = rng.random((10, 10)) < 0.7
        truth, predicted = masks
        expected = ((predicted & ~truth)[:, None] & truth[None]).sum((2, 3))
        shown = Shown(np.zeros((40, 30), np.uint8), BoxedMasks.from_dense(truth), BoxedMasks.from_dense(predicted))
        found = covered_pixels(shown)
        np.testing.assert_array_equal(found[:, :-1], expected)
        np.testing.assert_array_equal(found[:, -1], truth.sum((1, 2)))


def pixels(pairs: dict[tuple[int, int], int]) -> np.ndarray:
    """(3, 4): truths of 1000 pixels each."""
    found = np.zeros((3, 4), np.int64)
    found[:, -1] = 1000
    for at, count in pairs.items():
        found[at] = count
    return found


def test_the_largest_share_of_a_truth_comes_first() -> None:
    images = np.stack([pixels({(0, 1): 100, (2, 0): 300}), pixels({(0, 1): 20})])
    page = neighbours_section(["Radius", "<Ulna>", "Lunate"], images).body
    assert page.index("Lunate") < page.index("&lt;Ulna&gt;")
    assert 'data-value="15">15.00' in page and 'data-value="6">6.00' in page
    assert 'data-value="300">300</td><td class="number" data-value="1">1<' in page


def test_without_confusion_there_is_no_table() -> None:
    assert "<table" not in neighbours_section(["a", "b", "c"], pixels({(0, 1): 1})[None]).body
