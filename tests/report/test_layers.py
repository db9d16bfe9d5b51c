"""Layers over a part of an image: exact, in the right place, small."""

from __future__ import annotations

import base64
import re
from io import BytesIO

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from handbone.masks.boxed import BoxedMasks
from handbone.report.layers import Shown, Window, crop_window, image_layer, layered_svg

SIZE = 64


def square(side: int, y: int = 32, x: int = 32) -> NDArray[np.bool_]:
    """(1, 64, 64): a square around y, x."""
    mask = np.zeros((1, SIZE, SIZE), bool)
    mask[:, y - side // 2 : y + side // 2, x - side // 2 : x + side // 2] = True
    return mask


def drawn(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], window: Window = (0, 0, SIZE, SIZE)) -> str:
    shown = Shown(np.full((SIZE, SIZE), 90, np.uint8), BoxedMasks.from_dense(truth), BoxedMasks.from_dense(predicted))
    return layered_svg("a", "", shown, window, [f"<class {at}>" for at in range(len(truth))])


def area(svg: str, layer: str, shape: tuple[int, int] = (SIZE, SIZE)) -> NDArray[np.bool_]:
    """(h, w): the pixels of a layer that are not transparent."""
    found = re.search(rf'class="layer area {layer}"[^>]*base64,([^"]+)"', svg)
    if not found:
        return np.zeros(shape, bool)
    picture = Image.open(BytesIO(base64.b64decode(found[1])))
    return np.asarray(picture.convert("RGBA"))[..., 3] > 0


def test_areas_are_the_exact_pixels() -> None:
    truth, small, large = square(24), square(20), square(30)
    np.testing.assert_array_equal(area(drawn(small, truth), "missed"), (truth & ~small)[0])
    np.testing.assert_array_equal(area(drawn(large, truth), "extra"), (large & ~truth)[0])
    assert not area(drawn(small, truth), "extra").any() and not area(drawn(large, truth), "missed").any()


def test_a_pixel_of_the_wrong_class_is_missed_by_one_and_too_much_of_the_other() -> None:
    here, empty = square(20), square(0)
    svg = drawn(np.concatenate([here, empty]), np.concatenate([empty, here]))
    np.testing.assert_array_equal(area(svg, "missed"), here[0])
    np.testing.assert_array_equal(area(svg, "extra"), here[0])


def test_areas_of_a_window_are_those_inside_of_it() -> None:
    truth, predicted, window = square(30, 20, 20), square(30, 30, 24), (10, 15, 40, 50)
    svg = drawn(predicted, truth, window)
    np.testing.assert_array_equal(area(svg, "missed"), (truth & ~predicted)[0, 10:40, 15:50])
    assert 'viewBox="0 0 35 30"' in svg


def test_an_area_has_one_bit_per_pixel() -> None:
    """A quarter of a million pixels of noise, which nothing compresses."""
    noise = np.random.default_rng(0).random((1, 512, 512)) < 0.5
    shown = Shown(np.zeros((8, 8), np.uint8), BoxedMasks.from_dense(noise), BoxedMasks.from_dense(np.zeros_like(noise)))
    found = re.search(r'missed"[^>]*base64,([^"]+)"', layered_svg("a", "", shown, (0, 0, 512, 512), [""]))
    assert found and len(base64.b64decode(found[1])) < 1.1 * 512 * 512 / 8


def outline(svg: str, layer: str) -> NDArray[np.uint8]:
    """(64, 64): a layer's first path, filled."""
    found = re.search(rf'id="a-{layer}".*?<path d="M(\d+) (\d+)l([^z]+)z', svg)
    assert found
    steps = np.array(found[3].split(), int).reshape(-1, 2)
    corners = np.cumsum([[int(found[1]), int(found[2])], *steps.tolist()], 0)
    return np.asarray(cv2.fillPoly(np.zeros((SIZE, SIZE), np.uint8), [corners.astype(np.int32)], 1), np.uint8)


def test_outlines_are_those_of_the_masks() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = square(2 * int(rng.integers(3, 12)), *rng.integers(15, 48, 2).tolist())
        np.testing.assert_array_equal(outline(drawn(square(8), truth), "truth"), truth[0])


def test_masks_of_any_kind_have_an_outline_or_none() -> None:
    point = np.zeros((3, SIZE, SIZE), bool)
    point[0, 5, 7] = True
    point[2, ::7, ::5] = True
    svg = drawn(point, point)
    assert "M7 5h0" in svg and svg.count("<path") == 4, "two classes have pixels, in truth and prediction"
    assert "&lt;class 0&gt;" in svg and "&lt;class 1&gt;" not in svg


def test_masks_outside_of_the_window_are_left_out() -> None:
    assert "<path" not in drawn(square(10, 10, 10), square(10, 10, 10), (30, 30, 60, 60))


@pytest.mark.parametrize(
    ("shape", "longest", "expected"), [((64, 32), 100, (64, 32)), ((64, 32), 16, (16, 8)), ((32, 16, 3), 100, (32, 16))]
)
def test_the_image_is_at_cache_size_or_reduced(shape: tuple[int, ...], longest: int, expected: tuple[int, int]) -> None:
    """The masks have 64 x 32 pixels; the layer has their size, whatever the picture has."""
    masks = BoxedMasks.from_dense(np.zeros((1, 64, 32), bool))
    layer = image_layer("<a>", Shown(np.zeros(shape, np.uint8), masks, masks), (0, 0, 64, 32), longest)
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(re.findall('base64,([^"]+)"', layer)[0]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.shape[:2] == expected and 'width="32" height="64"' in layer and 'id="&lt;a&gt;"' in layer


def test_a_crop_holds_all_masks_and_stays_inside_of_the_image() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        masks = np.zeros((2, 300, 200), bool)
        y, x = rng.integers(0, (290, 190))
        masks[0, y : y + 9, x : x + 9] = True
        y0, x0, y1, x1 = crop_window([BoxedMasks.from_dense(masks)])
        assert 0 <= y0 <= y < y + 9 <= y1 <= 300 and 0 <= x0 <= x < x + 9 <= x1 <= 200
    assert crop_window([BoxedMasks.from_dense(np.zeros((1, 30, 20), bool))]) == (0, 0, 30, 20)
