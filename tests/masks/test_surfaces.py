"""Surfaces and their distances from runs are those of dense masks, to the last pixel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from handbone.masks.boxed import BoxedMasks
from handbone.masks.runs import RunLengthMasks
from handbone.masks.surfaces import squared_distances, surfaces

RNG = np.random.default_rng(0)


def runs_of(masks: np.ndarray) -> RunLengthMasks:
    return RunLengthMasks.from_boxed(BoxedMasks.from_dense(masks))


def noise(shape: tuple[int, int]) -> np.ndarray:
    """(8, H, W): masks from empty to full."""
    return RNG.random((8, *shape)) < np.array([0, 0.02, 0.1, 0.3, 0.7, 0.95, 0.99, 1])[:, None, None]


def plain_surfaces(masks: np.ndarray) -> np.ndarray:
    return np.stack([mask & ~binary_erosion(mask) for mask in masks])


def plain_squared(surface: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Every pair of pixels."""
    pixels, others = np.argwhere(surface), np.argwhere(other)
    return ((pixels[:, None] - others) ** 2).sum(2).min(1) if len(others) else np.zeros(0, int)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (13, 11), (40, 60)])
def test_surfaces_are_the_masks_without_their_erosion(shape: tuple[int, int]) -> None:
    masks = noise(shape)
    found = surfaces(runs_of(masks))
    assert np.array_equal(found.boxed().dense(), plain_surfaces(masks))
    for one in found.one_by_one():
        assert (one.intervals[1:, 0] > one.intervals[:-1, 1]).all(), "the runs of a mask rise and never touch"


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (13, 11), (40, 60)])
def test_distances_are_those_to_the_nearest_of_all_pixels(shape: tuple[int, int]) -> None:
    masks, others = noise(shape), RNG.permutation(noise(shape))
    indptr, squared = squared_distances(runs_of(masks), runs_of(others))
    for mask, other, first, end in zip(masks, others, indptr, indptr[1:], strict=False):
        assert np.array_equal(squared[first:end], plain_squared(mask, other))


def test_a_far_pixel_beyond_rows_without_any() -> None:
    one, other = np.zeros((2, 1, 900, 700), bool)
    one[0, 10, 3], other[0, 890, 600], other[0, 889, 699] = True, True, True
    assert squared_distances(runs_of(one), runs_of(other))[1].tolist() == [880**2 + 597**2]
    assert squared_distances(runs_of(other), runs_of(one))[1].tolist() == [879**2 + 696**2, 880**2 + 597**2]


def test_more_runs_than_the_first_buffer_holds() -> None:
    masks = np.zeros((1, 600, 600), bool)
    masks[:, ::2, ::2] = True
    assert np.array_equal(surfaces(runs_of(masks)).boxed().dense(), masks)


def test_masks_of_other_shapes_or_classes_have_no_distance() -> None:
    for other in (np.ones((1, 5, 4), bool), np.ones((2, 4, 5), bool)):
        with pytest.raises(ValueError, match="surfaces of"):
            squared_distances(runs_of(np.ones((1, 4, 5), bool)), runs_of(other))
