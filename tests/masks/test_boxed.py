"""Boxed masks are equal to dense ones."""

import numpy as np
import pytest

from handbone.masks.boxed import BoxedMasks, check_boxes


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


def test_unions_differences_and_choices_are_those_of_the_dense_masks() -> None:
    for seed in range(20):
        masks, others = some_masks(9, seed), some_masks(9, seed + 100)[::-1]
        boxed = BoxedMasks.from_dense(masks)
        assert np.array_equal(boxed.union(), masks.any(0))
        assert np.array_equal(boxed.only([4, 0]).dense(), masks[[4, 0]])
        rest = boxed.without(BoxedMasks.from_dense(others))
        assert np.array_equal(rest.dense(), masks & ~others)
        assert np.array_equal(rest.boxes, BoxedMasks.from_dense(masks & ~others).boxes)
        assert np.array_equal(boxed.dense(), masks), "the masks themselves stay"


BAD_BOXES = [[0, 0, 11, 12], [0, 0, 10, 13], [-1, 0, 2, 2], [0, -1, 2, 2], [5, 0, 4, 2], [0, 5, 2, 4], [2**31 - 1, 0, -(2**31), 2]]


@pytest.mark.parametrize("box", BAD_BOXES)
def test_a_box_that_is_not_inside_of_the_image_is_an_error(box: list[int]) -> None:
    """Kernels read and write by boxes without looking at the ends of arrays."""
    with pytest.raises(ValueError, match="box 1"):
        check_boxes((10, 12), np.array([[0, 0, 10, 12], box], np.int32))


@pytest.mark.parametrize(
    "boxes", [np.zeros((2, 4), np.int64), np.zeros((2, 4), np.float32), np.zeros((2, 3), np.int32), np.zeros(4, np.int32)]
)
def test_boxes_of_another_type_or_shape_are_an_error(boxes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="int32"):
        check_boxes((10, 12), boxes)


def test_boxes_up_to_the_edges_and_empty_ones_are_inside() -> None:
    check_boxes((10, 12), np.array([[0, 0, 10, 12], [0, 0, 0, 0], [10, 12, 10, 12]], np.int32))
    check_boxes((10, 12), np.zeros((0, 4), np.int32))


def test_crops_have_the_shapes_of_their_boxes() -> None:
    boxes = np.array([[0, 0, 2, 3]], np.int32)
    BoxedMasks((10, 12), boxes, [np.ones((2, 3), bool)])
    for crops in ([np.ones((3, 2), bool)], [], [np.ones((2, 3), bool)] * 2):
        with pytest.raises(ValueError, match="crops"):
            BoxedMasks((10, 12), boxes, crops)


def test_of_several_masks_the_last_keeps_a_pixel() -> None:
    masks = some_masks(29)
    found = BoxedMasks.from_dense(masks).disjoint().dense()
    last = len(masks) - 1 - masks[::-1].argmax(0)
    assert np.array_equal(found, masks.any(0) & (np.arange(len(masks))[:, None, None] == last))
