"""Joined members equal a sum of dense maps in whole numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense_maps import exact_sum, random_maps
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.joined import _add_weighted, joined_masks
from handbone.masks.upsample import full_masks

SIZES = [(1, 1), (5, 7), (12, 9), (24, 18), (30, 41)]


def joined(maps: list[np.ndarray], weights: np.ndarray, shape: tuple[int, int], thresholds: np.ndarray) -> np.ndarray:
    return joined_masks([CroppedMaps.from_dense(one) for one in maps], weights, shape, thresholds).boxed().dense()


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.sampled_from(SIZES), min_size=1, max_size=4),
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_every_pixel_is_that_of_the_sum_in_whole_numbers(seed: int, sizes: list[tuple[int, int]], shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    maps = [random_maps(rng, size) for size in sizes]
    weights = rng.integers(0, 4, (len(sizes), len(maps[0])))
    weights[rng.integers(len(sizes)), :] += 1
    half_steps = rng.integers(0, 510, len(maps[0]))
    expected = exact_sum(maps, weights, shape) > (half_steps * 2 * shape[0] * shape[1] * weights.sum(0))[:, None, None]
    assert np.array_equal(joined(maps, weights, shape, half_steps / 510), expected)


@pytest.mark.parametrize("shape", [(24, 18), (48, 36), (100, 77), (5, 31)])
def test_one_member_is_joined_as_alone(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    maps = CroppedMaps.from_dense(random_maps(rng, (24, 18)))
    thresholds = rng.random(len(maps.boxes))
    alone, same = full_masks(maps, shape, thresholds), joined_masks([maps], np.full((1, len(maps.boxes)), 3), shape, thresholds)
    assert np.array_equal(alone.indptr, same.indptr) and np.array_equal(alone.intervals, same.intervals)


def test_a_member_of_another_size_and_the_weight_0_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    one, other = random_maps(rng, (24, 18)), random_maps(rng, (30, 41))
    weights, thresholds = np.array([[2] * len(one), [0] * len(one)]), np.full(len(one), 0.5)
    assert np.array_equal(joined([one, other], weights, (60, 50), thresholds), joined([one], weights[:1], (60, 50), thresholds))


def test_more_runs_than_fit_in_the_first_buffer() -> None:
    board = np.where(np.indices((300, 300)).sum(0) % 2, 255, 0).astype(np.uint8)[None]
    weights = np.ones((2, 1), np.int64)
    masks = joined([board, board], weights, (300, 300), np.array([0.5]))
    assert np.array_equal(masks, board > 0)
    tiny = np.full((1, 1, 1), 255, np.uint8)  # of another size: 255 everywhere
    assert np.array_equal(joined([board, tiny], weights, (300, 300), np.array([0.5])), board > 0)


def test_large_weights_are_exact_and_larger_ones_are_refused() -> None:
    maps = [np.full((1, 2, 2), value, np.uint8) for value in (100, 101)]
    shape, largest = (64, 64), (2**63 - 1) // (255 * 4 * 64 * 64)
    weights = np.array([[largest - 1], [1]])
    assert joined(maps, weights, shape, np.array([200 / 510])).all()  # one part in 10^12 above 100 of 255
    with pytest.raises(ValueError, match="64 bits"):
        joined(maps, weights + 1, shape, np.array([0.5]))


@pytest.mark.parametrize("weights", [[[1], [-1]], [[0], [0]], [[1]], [[1, 1], [1, 1]], [[0.5], [0.5]]])
def test_weights_that_cannot_be_used_are_refused(weights: list[list[float]]) -> None:
    member = CroppedMaps.from_dense(np.full((1, 2, 2), 255, np.uint8))
    with pytest.raises(ValueError, match="weights"):
        joined_masks([member, member], np.array(weights), (4, 4), np.array([0.5]))


def test_without_the_compiler_sums_are_the_same() -> None:
    """NumPy multiplies a byte and a small Python number to a byte; numba does not. NUMBA_DISABLE_JIT must not change a mask."""
    crop, total = np.array([[200, 1]], np.uint8), np.zeros((1, 2), np.int64)
    getattr(_add_weighted, "py_func", _add_weighted)(crop, 3, total)
    assert total.tolist() == [[600, 3]]
