"""Boxed masks are equal to dense ones."""

import numpy as np

from handbone.masks.boxed import BoxedMasks


def some_masks(classes: int, seed: int = 0) -> np.ndarray:
    """Random blobs, the first mask empty, the second full."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((classes, 23, 31), bool)
    masks[1] = True
    for mask in masks[2:]:
        y, x = rng.integers(0, 20), rng.integers(0, 25)
        mask[y : y + rng.integers(1, 12), x : x + rng.integers(1, 12)] = rng.random() < 0.9
        mask &= rng.random(mask.shape) < 0.8
    return masks


def test_dense_round_trip() -> None:
    masks = some_masks(29)
    assert np.array_equal(BoxedMasks.from_dense(masks).dense(), masks)


def test_boxes_are_tight() -> None:
    mask = np.zeros((1, 10, 12), bool)
    mask[0, 3:5, 7:12] = True
    assert BoxedMasks.from_dense(mask).boxes.tolist() == [[3, 7, 5, 12]]


def test_areas_are_those_of_the_dense_masks() -> None:
    masks = some_masks(12, 1)
    assert BoxedMasks.from_dense(masks).areas().tolist() == masks.sum((1, 2)).tolist()
