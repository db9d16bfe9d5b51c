"""Polygons are painted exactly as OpenCV 4.10 paints them."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np

from handbone.masks.rasterize import rasterize

GOLDEN = json.loads((Path(__file__).parent.parent / "golden/golden_polygons.json").read_text())


def test_golden_polygons_are_painted_as_opencv_4_10_paints_them() -> None:
    """Newer releases paint some of them differently, so this test must fail with them."""
    height, width = GOLDEN["image"]
    for polygon in GOLDEN["polygons"]:
        mask = rasterize([[np.array(polygon["points"], np.int32)]], (height, width)).dense()[0]
        assert int(mask.sum()) == polygon["pixels"]
        assert hashlib.sha256(mask.astype(np.uint8).tobytes()).hexdigest() == polygon["sha256"]


def test_painting_in_a_box_equals_painting_the_whole_image() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        points = rng.integers(0, 64, (rng.integers(3, 12), 2)).astype(np.int32)
        whole = np.zeros((64, 64), np.uint8)
        cv2.fillPoly(whole, [points], 1)
        assert np.array_equal(rasterize([[points]], (64, 64)).dense()[0], whole.astype(bool))


def test_polygons_of_a_class_are_united_where_they_overlap() -> None:
    squares = [np.array([[x, x], [x + 10, x], [x + 10, x + 10], [x, x + 10]], np.int32) for x in (0, 5)]
    mask = rasterize([squares, []], (20, 20)).dense()
    assert mask[0, 7, 7] and mask[0, 1, 1] and mask[0, 14, 14]
    assert not mask[1].any()
