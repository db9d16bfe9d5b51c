"""The class of each pixel equals NumPy's argmax of the members' exact sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense_maps import exact_sum, random_maps
from handbone.masks.argmax import STRIP, argmax_masks
from handbone.masks.cropped_maps import CroppedMaps

SIZES = [(1, 1), (5, 7), (12, 9), (24, 18), (30, 41)]


def labels(maps: list[np.ndarray], weights: list[int], shape: tuple[int, int]) -> np.ndarray:
    """(H, W) the class of each pixel, of which there is exactly one."""
    of_classes = np.tile(np.array(weights)[:, None], (1, len(maps[0])))
    masks = argmax_masks([CroppedMaps.from_dense(one) for one in maps], of_classes, shape).boxed().dense()
    assert (masks.sum(0) == 1).all()
    return masks.argmax(0)


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.sampled_from(SIZES), min_size=1, max_size=3),
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_every_pixel_is_that_of_numpy(seed: int, sizes: list[tuple[int, int]], shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    maps = [rng.permuted(random_maps(rng, size), axis=0) for size in sizes]
    weights = rng.integers(1, 4, len(sizes))
    expected = exact_sum(maps, np.tile(weights[:, None], (1, len(maps[0]))), shape).argmax(0)
    assert np.array_equal(labels(maps, weights.tolist(), shape), expected)


def test_more_rows_than_are_computed_at_a_time() -> None:
    maps = np.random.default_rng(0).integers(0, 256, (4, 9, 7)).astype(np.uint8)
    shape = (2 * STRIP + 5, 13)
    assert np.array_equal(labels([maps], [1], shape), exact_sum([maps], np.ones((1, 4), np.int64), shape).argmax(0))


def test_of_equal_classes_the_first_is_taken() -> None:
    maps = np.zeros((3, 2, 2), np.uint8)
    maps[1:, 0] = 90
    assert labels([maps], [1], (2, 2)).tolist() == [[1, 1], [0, 0]], "where all are 0, too"


def test_weights_that_differ_between_classes_are_refused() -> None:
    maps = CroppedMaps.from_dense(np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="differ"):
        argmax_masks([maps, maps], np.array([[1, 2], [2, 1]]), (4, 4))
