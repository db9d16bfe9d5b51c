"""What one class per pixel costs: by hand on masks of two and three classes."""

import numpy as np
import pytest
from benchmarks.argmax import dice_of, exclusive, most_probable, overlap

from handbone.masks.cropped_maps import CroppedMaps


@pytest.fixture
def truth() -> np.ndarray:
    """Two bones of 8 and 4 pixels in a row, with two pixels in common, and one apart."""
    masks = np.zeros((3, 2, 12), bool)
    masks[0, 0, :8] = masks[1, 0, 6:10] = masks[2, 1, :3] = True
    return masks


def test_the_share_of_pixels_in_several_masks(truth: np.ndarray) -> None:
    assert overlap(truth).tolist() == [2 / 8, 2 / 4, 0]


@pytest.mark.parametrize(("order", "left"), [([0, 1, 2], [6, 4, 3]), ([1, 0, 2], [8, 2, 3])])
def test_the_last_that_is_painted_keeps_the_pixels(truth: np.ndarray, order: list[int], left: list[int]) -> None:
    masks = exclusive(truth, np.array(order))
    assert masks.sum((1, 2)).tolist() == left and masks.sum(0).max() == 1 and not (masks & ~truth).any()
    expected = [2 * kept / (kept + whole) for kept, whole in zip(left, [8, 4, 3], strict=True)]
    assert dice_of(masks, truth) == pytest.approx(expected, abs=1e-4)


def test_of_the_classes_above_the_threshold_the_most_probable_is_kept() -> None:
    maps = np.zeros((2, 4, 4), np.uint8)
    maps[0], maps[1, :, 2:] = 150, 200
    above = np.stack([np.ones((4, 4), bool), maps[1] > 127])
    found = most_probable(CroppedMaps.from_dense(maps), above)
    assert np.array_equal(found[1], maps[1] > 0) and np.array_equal(found[0], maps[1] == 0)
