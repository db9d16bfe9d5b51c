"""The preview: a sample without augmentation and augmented versions of it, each with its target."""

import numpy as np
import pytest

from handbone.cache.sample import CachedSample
from handbone.masks.boxed import BoxedMasks
from handbone.masks.coverage import coverage
from handbone.masks.packed import PackedMasks
from handbone.report.augmentation_preview import CELL_SIDE, GAP, GAP_GREY, draw_target, preview_strip
from handbone.training.data.augment import Augmenter

FULL = (192, 256)
BOXES = [(30, 40, 120, 110), (60, 90, 150, 240)]


def masks():
    corners = [(y0, x0) for y0, x0, _, _ in BOXES]
    return PackedMasks.pack(BoxedMasks.from_crops(FULL, corners, [np.ones((y1 - y0, x1 - x0), bool) for y0, x0, y1, x1 in BOXES]))


def sample(*channels):
    return CachedSample(np.full((*FULL, *channels), 90, np.uint8), FULL, masks())


def coloured(picture):
    """(h, w) bool: the pixels that are not grey."""
    return np.ptp(picture.astype(int), axis=-1) > 8


def cells(picture):
    return [picture[:, start : start + CELL_SIDE] for start in range(0, picture.shape[1], CELL_SIDE + GAP)]


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("size", [64, 128, 4096])
def test_a_strip_has_a_cell_for_the_sample_and_for_each_seed(size, channels):
    picture = preview_strip(sample(*channels), Augmenter([], 1), size, [1, 2])
    assert picture.shape == (CELL_SIDE * 3 // 4, 3 * CELL_SIDE + 2 * GAP, 3)
    assert (picture[:, CELL_SIDE : CELL_SIDE + GAP] == GAP_GREY).all()
    first, *others = cells(picture)
    assert all(np.array_equal(other, first) for other in others), "no transforms change nothing"


def test_colour_is_where_the_masks_are_and_moves_with_the_image():
    as_is, flipped = cells(preview_strip(sample(), Augmenter([{"HorizontalFlip": {"p": 1}}], 1), 256, [1]))
    inside = np.zeros(as_is.shape[:2], bool)
    for y0, x0, y1, x1 in (np.array(BOXES) * CELL_SIDE / FULL[1]).round().astype(int):
        inside[y0:y1, x0:x1] = True
    assert (coloured(as_is) == inside).mean() > 0.97
    assert (coloured(flipped) == inside[:, ::-1]).mean() > 0.97


def test_classes_differ_in_hue():
    picture = draw_target(sample().image, coverage(masks(), FULL))
    y, x = (np.array([[70, 60], [110, 200]]) * CELL_SIDE / FULL[1]).astype(int).T
    one, other = picture[y, x].astype(int)
    assert np.abs((one - one.mean()) - (other - other.mean())).max() > 8


def test_only_the_seeds_decide():
    augmenter = Augmenter("light", 1)
    first, again, others = (preview_strip(sample(), augmenter, 64, seeds) for seeds in ([1, 2], [1, 2], [3, 4]))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, others)
