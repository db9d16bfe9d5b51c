"""Histograms give the counts of the joined masks at every threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense_maps import exact_sum, random_maps
from handbone.masks.boxed import BoxedMasks
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.histogram import counts_at, histograms
from handbone.masks.joined import joined_masks
from handbone.masks.runs import RunLengthMasks

SIZES = [(1, 1), (5, 7), (12, 9), (24, 18), (30, 41)]


def runs_of(masks: np.ndarray) -> RunLengthMasks:
    return RunLengthMasks.from_boxed(BoxedMasks.from_dense(masks))


def expected_bins(sums: np.ndarray, unit: int, truth: np.ndarray) -> list[list[int]]:
    bins = -(-sums // unit)
    return [np.bincount(bins[truth == side], minlength=511).tolist() for side in (False, True)]


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.sampled_from(SIZES), min_size=1, max_size=3),
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    share=st.sampled_from([0, 0.1, 0.9, 1]),
)
def test_every_pixel_is_in_its_bin(seed: int, sizes: list[tuple[int, int]], shape: tuple[int, int], share: float) -> None:
    rng = np.random.default_rng(seed)
    maps = [random_maps(rng, size) for size in sizes]
    weights = rng.integers(0, 4, (len(sizes), len(maps[0])))
    weights[rng.integers(len(sizes)), :] += 1
    truth = rng.random((len(maps[0]), *shape)) < share
    bins = histograms([CroppedMaps.from_dense(one) for one in maps], weights, runs_of(truth))
    units = (2 * shape[0] * shape[1] * weights.sum(0)).tolist()
    assert bins.tolist() == [expected_bins(*one) for one in zip(exact_sum(maps, weights, shape), units, truth, strict=True)]


@pytest.mark.parametrize("sizes", [[(24, 18)], [(24, 18), (12, 9), (30, 41)]])
@pytest.mark.parametrize("shape", [(48, 36), (37, 61)])
def test_the_counts_at_every_threshold_are_those_of_the_masks(sizes: list[tuple[int, int]], shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    maps = [CroppedMaps.from_dense(random_maps(rng, size)) for size in sizes]
    weights = rng.integers(1, 4, (len(sizes), 6))
    truth = runs_of(rng.random((6, *shape)) < 0.3)
    counts = counts_at(histograms(maps, weights, truth))
    assert counts.shape == (6, 510, 3)
    for half_steps in range(510):
        masks = joined_masks(maps, weights, shape, np.full(6, half_steps / 510))
        both = masks.intersections(truth)
        expected = np.stack([both, masks.areas() - both, truth.areas() - both], 1)
        assert np.array_equal(counts[:, half_steps], expected)


def test_the_largest_weights_are_exact() -> None:
    shape, largest = (64, 64), (2**63 - 1) // (255 * 4 * 64 * 64)
    maps = [CroppedMaps.from_dense(np.full((1, 2, 2), value, np.uint8)) for value in (100, 101)]
    bins = histograms(maps, np.array([[largest - 1], [1]]), runs_of(np.zeros((1, *shape), bool)))
    assert bins[0, 0, 201] == 64 * 64  # a little above 200 half steps
