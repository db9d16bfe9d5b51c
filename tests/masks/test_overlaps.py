"""What masks share is what dense masks share, to the pixel."""

from __future__ import annotations

import numpy as np
import pytest

from handbone.masks.boxed import BoxedMasks
from handbone.masks.overlaps import overlaps
from handbone.masks.runs import RunLengthMasks


def runs_of(masks: np.ndarray) -> RunLengthMasks:
    return RunLengthMasks.from_boxed(BoxedMasks.from_dense(masks))


@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (20, 1), (7, 9), (50, 40)])
@pytest.mark.parametrize("seed", range(4))
def test_they_are_those_of_dense_masks(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.random((9, *shape)) < rng.permutation([0, 0.05, 0.1, 0.3, 0.5, 0.5, 0.7, 0.9, 1])[:, None, None]
    found, flat, number = overlaps(runs_of(masks)), masks.reshape(9, -1).astype(int), masks.sum(0)
    assert np.array_equal(found.shared, flat @ flat.T)
    assert np.array_equal(found.multiple, (masks & (number > 1)).sum((1, 2)))
    assert (found.covered, found.contested) == ((number > 0).sum(), (number > 1).sum())
    areas = masks.sum((1, 2))
    keeper = np.where(masks, areas[:, None, None], areas.max() + 1).argmin(0)  # the first of the smallest masks of each pixel
    assert found.kept.tolist() == [int(((keeper == index) & mask).sum()) for index, mask in enumerate(masks)]


def test_masks_that_touch_share_nothing() -> None:
    masks = np.zeros((2, 2, 8), bool)
    masks[0, :, :4], masks[1, :, 4:] = True, True
    found = overlaps(runs_of(masks))
    assert found.shared.tolist() == [[8, 0], [0, 8]] and found.kept.tolist() == [8, 8] and found.contested == 0


def test_no_masks_and_empty_masks() -> None:
    found = overlaps(runs_of(np.zeros((3, 4, 4), bool)))
    assert not found.shared.any() and not found.kept.any() and found.covered == found.contested == 0
