"""The sheet: every draw beside the sample as it is, each under the target that belongs to it."""

import numpy as np
import pandas as pd
import pytest
from stages.report import strips

from handbone.cache.sample import CachedSample, write_sample
from handbone.config import paths
from handbone.config.params import load_params
from handbone.masks.boxed import BoxedMasks
from handbone.masks.coverage import coverage
from handbone.masks.packed import PackedMasks
from handbone.report.augmentation_preview import GAP, GREY, SIDE, draw_target, planes, strip
from handbone.training.data.augment import Augmenter
from handbone.utils.io import write_table
from imports import ROOT

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
    return [picture[:, start : start + SIDE] for start in range(0, picture.shape[1], SIDE + GAP)]


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("size", [64, 128, 4096])
def test_a_strip_has_a_cell_for_the_sample_and_for_each_draw(size, channels):
    picture = strip(sample(*channels), Augmenter([], 1), size, [1, 2])
    assert picture.shape == (SIDE * 3 // 4, 3 * SIDE + 2 * GAP, 3)
    assert (picture[:, SIDE : SIDE + GAP] == GREY).all()
    first, *draws = cells(picture)
    assert all(np.array_equal(draw, first) for draw in draws), "nothing is drawn from no transforms"


def test_colour_is_where_the_masks_are_and_moves_with_the_image():
    as_is, flipped = cells(strip(sample(), Augmenter([{"HorizontalFlip": {"p": 1}}], 1), 256, [1]))
    there = np.zeros(as_is.shape[:2], bool)
    for y0, x0, y1, x1 in (np.array(BOXES) * SIDE / FULL[1]).round().astype(int):
        there[y0:y1, x0:x1] = True
    assert (coloured(as_is) == there).mean() > 0.97
    assert (coloured(flipped) == there[:, ::-1]).mean() > 0.97


def test_classes_differ_in_hue():
    picture = draw_target(sample().image, coverage(masks(), FULL))
    y, x = (np.array([[70, 60], [110, 200]]) * SIDE / FULL[1]).astype(int).T
    one, other = picture[y, x].astype(int)
    assert np.abs((one - one.mean()) - (other - other.mean())).max() > 8


def test_planes_are_the_masks_at_their_own_size():
    assert np.array_equal(planes(coverage(masks(), FULL), FULL) > 0, masks().unpack().dense())


def test_the_seeds_alone_decide():
    augmenter = Augmenter("light", 1)
    first, again, others = (strip(sample(), augmenter, 64, seeds) for seeds in ([1, 2], [1, 2], [3, 4]))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, others)


def test_a_sample_without_masks_has_no_strip():
    with pytest.raises(ValueError, match="masks"):
        strip(CachedSample(np.zeros(FULL, np.uint8), FULL, None), Augmenter([], 1), 64, [])


def test_the_page_shows_training_images_from_all_over_the_data_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keys = [f"ID00{number}/x" for number in range(6)]
    for key in keys:
        write_sample(paths.cached_sample("train", key), sample())
    write_table(paths.TRAIN_INDEX, pd.DataFrame({"key": keys}))
    params = load_params(ROOT / "params.yaml")
    shown = strips(params)
    assert [one.key for one in shown] == ["ID000/x", "ID002/x", "ID004/x"]
    assert len({one.picture for one in shown}) == 3, "each has draws of its own"
    assert strips(params) == shown
    assert strips(params.model_copy(update={"seed": params.seed + 1})) != shown
