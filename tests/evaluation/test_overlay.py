"""Pictures: errors are coloured in the right place for every image size."""

import numpy as np
import pytest

from handbone.evaluation.overlay import PREDICTED_RGB, TRUTH_RGB, overlay
from handbone.masks.boxed import BoxedMasks

NAMES = ["Radius", "Ulna"]


def boxed(shape, *rectangles):
    """One class per rectangle (y0, x0, y1, x1); None is an empty mask."""
    corners = [(0, 0) if rectangle is None else rectangle[:2] for rectangle in rectangles]
    crops = [np.zeros((0, 0), bool) if r is None else np.ones((r[2] - r[0], r[3] - r[1]), bool) for r in rectangles]
    return BoxedMasks.from_crops(shape, corners, crops)


def leans_to(picture, colour):
    """(h, w) bool: the pixels whose hue is that of `colour`."""
    blue_minus_red = picture[..., 2].astype(int) - picture[..., 0]
    return blue_minus_red > 20 if colour == TRUTH_RGB else blue_minus_red < -20


def grey(shape):
    return np.full(shape, 100, np.uint8)


@pytest.mark.parametrize("image_shape", [(120, 200), (60, 100), (240, 400), (60, 100, 3)])
def test_overlay_has_the_masks_aspect_whatever_the_image_is_cached_at(image_shape):
    masks = boxed((120, 200), (10, 20, 60, 80), (40, 60, 110, 190))
    assert overlay(grey(image_shape), masks, masks, NAMES, 100).shape == (60, 100, 3)


def test_overlay_never_enlarges():
    masks = boxed((120, 200), (10, 20, 60, 80))
    assert overlay(grey((120, 200)), masks, masks, NAMES[:1], 640).shape == (120, 200, 3)


def test_equal_masks_leave_no_colour_even_where_classes_overlap():
    masks = boxed((400, 400), (50, 50, 250, 250), (150, 150, 350, 350))
    picture = overlay(grey((400, 400)), masks, masks, NAMES, 640)
    assert not leans_to(picture, TRUTH_RGB).any() and not leans_to(picture, PREDICTED_RGB).any()
    assert (picture[100, 100] == 100).all(), "the inside of a mask stays the image"
    assert picture.min(-1).max() > 250, "there are white outlines"


def test_a_mask_at_the_border_has_its_whole_outline_in_a_smaller_picture():
    masks = boxed((400, 400), (0, 0, 400, 400))
    picture = overlay(grey((400, 400)), masks, masks, NAMES[:1], 100)
    assert min(side.min() for side in (picture[0], picture[-1], picture[:, 0], picture[:, -1])) > 200


def test_errors_are_tinted_where_they_are():
    truth = boxed((200, 200), (20, 20, 60, 100), None)
    predicted = boxed((200, 200), (20, 20, 60, 60), (120, 120, 180, 180))
    picture = overlay(grey((200, 200)), truth, predicted, NAMES, 100)
    assert leans_to(picture, TRUTH_RGB)[15:25, 34:46].all(), "missed"
    assert leans_to(picture, PREDICTED_RGB)[65:85, 65:85].all(), "too much"
    assert (picture[15:25, 15:25] == 100).all(), "right"


def test_a_pixel_given_to_the_wrong_class_is_an_error_of_both():
    here, there = (40, 40, 160, 160), None
    picture = overlay(grey((200, 200)), boxed((200, 200), here, there), boxed((200, 200), there, here), NAMES, 640)
    assert (picture[60:140, 60:140] != 100).any(-1).all()


def test_a_missed_class_is_labelled_whatever_its_script():
    truth, nothing = boxed((400, 400), (300, 380, 390, 400)), boxed((400, 400), None)
    named, other, foreign = (overlay(grey((400, 400)), truth, nothing, [name], 640) for name in ("Pisiform", "Hamate", "요골"))
    assert (named != other).any()
    assert foreign.shape == named.shape


def test_overlay_of_29_large_classes_is_the_same_each_time():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 1500, (29, 2))
    masks = boxed((2048, 2048), *[(y, x, y + 500, x + 300) for y, x in corners.tolist()])
    moved = boxed((2048, 2048), *[(y + 7, x, y + 507, x + 300) for y, x in corners.tolist()])
    image = rng.integers(0, 255, (1024, 1024), np.uint8)
    first, second = (overlay(image, masks, moved, [f"bone-{i}" for i in range(29)], 640) for _ in range(2))
    assert first.shape == (640, 640, 3)
    np.testing.assert_array_equal(first, second)
