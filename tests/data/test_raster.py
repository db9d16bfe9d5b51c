"""What is painted is what OpenCV 4.10 paints; coverage is the area average of it."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from handbone.data.masks import BoxedMasks
from handbone.data.raster import coverage, paint, sample_packed

GOLDEN = json.loads((Path(__file__).parent.parent / "golden/golden_polygons.json").read_text())


def test_golden_polygons_are_painted_as_opencv_4_10_paints_them() -> None:
    """Newer releases paint some of them differently: with one of those this test fails, and so it should."""
    height, width = GOLDEN["image"]
    for polygon in GOLDEN["polygons"]:
        mask = paint([[np.array(polygon["points"], np.int32)]], (height, width)).dense()[0]
        assert int(mask.sum()) == polygon["pixels"]
        assert hashlib.sha256(mask.astype(np.uint8).tobytes()).hexdigest() == polygon["sha256"]


def test_painting_in_a_box_equals_painting_the_whole_image() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        points = rng.integers(0, 64, (rng.integers(3, 12), 2)).astype(np.int32)
        whole = np.zeros((64, 64), np.uint8)
        cv2.fillPoly(whole, [points], 1)
        assert np.array_equal(paint([[points]], (64, 64)).dense()[0], whole.astype(bool))


def test_polygons_of_a_class_are_united_where_they_overlap() -> None:
    squares = [np.array([[x, x], [x + 10, x], [x + 10, x + 10], [x, x + 10]], np.int32) for x in (0, 5)]
    mask = paint([squares, []], (20, 20)).dense()
    assert mask[0, 7, 7] and mask[0, 1, 1] and mask[0, 14, 14]
    assert not mask[1].any()


def random_packed(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    masks = np.random.default_rng(1).random((5, height, width)) < 0.4
    return masks, BoxedMasks.from_dense(masks).packed()


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_coverage_is_the_area_average(factor: int) -> None:
    masks, packed = random_packed(8 * factor, 12 * factor)
    expected = masks.reshape(5, 8, factor, 12, factor).mean((2, 4))
    found = coverage(packed, 5, (8, 12))
    assert np.abs(found / 255 - expected).max() <= 0.5 / 255 + 1e-9


@pytest.mark.parametrize("shape", [(36, 48), (35, 47), (90, 120), (100, 130), (1, 1)])
def test_coverage_at_any_ratio_is_the_area_average(shape: tuple[int, int]) -> None:
    """Against the average over a grid so fine that both grids' lines are on it."""
    masks, packed = random_packed(90, 120)
    fine = masks.repeat(shape[0], 1).repeat(shape[1], 2)
    expected = fine.reshape(5, shape[0], 90, shape[1], 120).mean((2, 4))
    assert np.abs(coverage(packed, 5, shape) / 255 - expected).max() <= 0.5 / 255 + 1e-5


def test_sampling_takes_the_pixel_under_the_centre() -> None:
    packed = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    assert sample_packed(packed, (8, 8))[..., 0].tolist() == packed[..., 0].tolist()
    # a centre on a pixel's edge belongs to the pixel behind it
    assert sample_packed(packed, (2, 2))[..., 0].tolist() == [[18, 22], [50, 54]]
    three = sample_packed(np.arange(9, dtype=np.uint8).reshape(9, 1, 1), (3, 1))
    assert three.ravel().tolist() == [1, 4, 7]
