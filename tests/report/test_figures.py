"""Pictures: errors are coloured in the right place for every image size; charts are the same bytes each time."""

import base64
import re
from xml.etree import ElementTree

import cv2
import numpy as np
import pandas as pd
import pytest

from handbone.masks.boxed import BoxedMasks
from handbone.report.figures import FOLD_COLOURS, PREDICTED_RGB, TRUTH_RGB, class_bars_svg, curves_svg, jpeg_data_uri, overlay, png_data_uri
from handbone.utils.io import read_table

NAMES = ["Radius", "Ulna"]


def boxed(shape, *rectangles):
    """One class per rectangle (y0, x0, y1, x1); None is an empty mask."""
    corners = [(0, 0) if rectangle is None else rectangle[:2] for rectangle in rectangles]
    crops = [np.zeros((0, 0), bool) if r is None else np.ones((r[2] - r[0], r[3] - r[1]), bool) for r in rectangles]
    return BoxedMasks.from_crops(shape, corners, crops)


def leans_to(picture, colour):
    """(h, w) bool: the pixels whose hue is that of `colour`."""
    green_minus_red = picture[..., 1].astype(int) - picture[..., 0]
    return green_minus_red > 20 if colour == TRUTH_RGB else green_minus_red < -20


def grey(shape):
    return np.full(shape, 100, np.uint8)


@pytest.mark.parametrize("image_shape", [(120, 200), (60, 100), (240, 400), (60, 100, 3)])
def test_overlay_has_the_masks_aspect_whatever_the_image_is_cached_at(image_shape):
    masks = boxed((120, 200), (10, 20, 60, 80), (40, 60, 110, 190))
    assert overlay(grey(image_shape), masks, masks, NAMES, longest=100).shape == (60, 100, 3)


def test_overlay_never_enlarges():
    masks = boxed((120, 200), (10, 20, 60, 80))
    assert overlay(grey((120, 200)), masks, masks, NAMES[:1], longest=640).shape == (120, 200, 3)


def test_equal_masks_leave_no_colour_even_where_classes_overlap():
    masks = boxed((400, 400), (50, 50, 250, 250), (150, 150, 350, 350))
    picture = overlay(grey((400, 400)), masks, masks, NAMES)
    assert not leans_to(picture, TRUTH_RGB).any() and not leans_to(picture, PREDICTED_RGB).any()
    assert (picture[100, 100] == 100).all(), "the inside of a mask stays the image"
    assert picture.max() == 255, "there are outlines"


def test_errors_are_tinted_where_they_are():
    truth = boxed((200, 200), (20, 20, 60, 100), None)
    predicted = boxed((200, 200), (20, 20, 60, 60), (120, 120, 180, 180))
    picture = overlay(grey((200, 200)), truth, predicted, NAMES, longest=100)
    assert leans_to(picture, TRUTH_RGB)[15:25, 34:46].all(), "missed"
    assert leans_to(picture, PREDICTED_RGB)[65:85, 65:85].all(), "too much"
    assert (picture[15:25, 15:25] == 100).all(), "right"


def test_a_pixel_given_to_the_wrong_class_is_an_error_of_both():
    here, there = (40, 40, 160, 160), None
    picture = overlay(grey((200, 200)), boxed((200, 200), here, there), boxed((200, 200), there, here), NAMES)
    assert (picture[60:140, 60:140] != 100).any(-1).all()


def test_a_missed_class_is_labelled_whatever_its_script():
    truth, nothing = boxed((400, 400), (300, 380, 390, 400)), boxed((400, 400), None)
    named, other, foreign = (overlay(grey((400, 400)), truth, nothing, [name]) for name in ("Pisiform", "Hamate", "요골"))
    assert (named != other).any()
    assert foreign.shape == named.shape


def test_overlay_of_29_large_classes_is_the_same_each_time():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 1500, (29, 2))
    masks = boxed((2048, 2048), *[(y, x, y + 500, x + 300) for y, x in corners.tolist()])
    moved = boxed((2048, 2048), *[(y + 7, x, y + 507, x + 300) for y, x in corners.tolist()])
    image = rng.integers(0, 255, (1024, 1024), np.uint8)
    first, second = (overlay(image, masks, moved, [f"bone-{i}" for i in range(29)]) for _ in range(2))
    assert first.shape == (640, 640, 3)
    np.testing.assert_array_equal(first, second)


def test_a_png_is_lossless():
    picture = np.random.default_rng(0).integers(0, 255, (7, 11, 3), np.uint8)
    kind, _, encoded = png_data_uri(picture).partition(",")
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    assert kind == "data:image/png;base64"
    np.testing.assert_array_equal(decoded[..., ::-1], picture)


def test_a_jpeg_is_nearly_lossless():
    rows, columns = np.mgrid[:64, :96].astype(np.uint8)
    picture = np.stack([rows * 2, columns * 2, rows + columns], -1)
    kind, _, encoded = jpeg_data_uri(picture).partition(",")
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    assert kind == "data:image/jpeg;base64"
    assert np.abs(decoded[..., ::-1].astype(int) - picture).mean() < 3


def curve(*dice):
    epochs = np.arange(1, len(dice) + 1)
    return pd.DataFrame({"epoch": epochs, "lr": 1e-3, "loss": 1 / epochs, "dice": dice})


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_curves_name_each_fold_with_its_best_epoch():
    text = " ".join(texts(curves_svg({1: curve(np.nan, 0.91, np.nan, 0.87), 0: curve(0.5, 0.6, 0.7, 0.8)})))
    assert re.search(r"fold 0\D+0\.8000\D+4.*fold 1\D+0\.9100\D+2", text)


def test_a_fold_that_failed_stays_visible():
    good, failed = (curve(*[dice] * 9).assign(loss=range(100, 1000, 100)) for dice in (0.95, 0.3))
    ticks = [float(text) for text in texts(curves_svg({0: good, 1: failed})) if re.fullmatch(r"0\.\d+", text)]
    assert min(ticks) <= 0.3


@pytest.mark.parametrize("curves", [{}, {0: curve(np.nan)}, {3: curve(1.0)}, {fold: curve(0.1, 0.2) for fold in range(12)}])
def test_curves_of_any_length(curves):
    ElementTree.fromstring(curves_svg(curves))


def lines_of_fold(svg, colour):
    """The y coordinates of the lines in `colour`, in points from the top."""
    paths = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path")
    lines = [path.get("d") for path in paths if "fill: none" in path.get("style", "") and colour in path.get("style", "")]
    return [[float(y) for y in re.findall(r"[ML] [-\d.]+ ([-\d.]+)", line)] for line in lines]


def test_epochs_without_a_score_are_left_out_and_not_drawn_as_zero(tmp_path):
    """The file has an empty cell for every second epoch."""
    rows = [f"{epoch},0.1,{1 / epoch},{'' if epoch % 2 else 0.8 + epoch**2 / 1000}" for epoch in range(1, 9)]
    (tmp_path / "curve.csv").write_text("\n".join(["epoch,lr,loss,dice", *rows, ""]))
    loss, dice, *_ = lines_of_fold(curves_svg({0: read_table(tmp_path / "curve.csv")}), FOLD_COLOURS[0])
    assert len(loss) == 8 and len(dice) == 4
    assert dice == sorted(dice, reverse=True), "the scores rise, and no point between them falls to zero"


def bars(**columns):
    return pd.DataFrame({"class": ["Radius", "Lunate", "Pisiform", "absent"], "dice": [0.97, 0.93, 0.81, np.nan], **columns})


def test_bars_are_sorted_worst_first_and_unseen_classes_last():
    shown = [text for text in texts(class_bars_svg(bars())) if text in set(bars()["class"])]
    assert shown == ["Pisiform", "Lunate", "Radius", "absent"]


def test_bars_show_the_test_set_only_where_there_is_truth():
    assert "test" not in texts(class_bars_svg(bars()))
    assert "test" not in texts(class_bars_svg(bars(test=[np.nan] * 4)))
    assert "test" in texts(class_bars_svg(bars(test=[0.96, 0.2, np.nan, np.nan])))


def test_class_names_are_text_and_nothing_else():
    names = ["<b>", "a & b", "$x^2$", "요골"]
    assert set(names) <= set(texts(class_bars_svg(bars().assign(**{"class": names}))))


@pytest.mark.parametrize("draw", [lambda: class_bars_svg(bars()), lambda: curves_svg({0: curve(0.1, 0.2)})])
def test_charts_are_the_same_bytes_each_time_and_have_no_links(draw):
    svg = draw()
    assert svg == draw()
    assert not re.findall(r"""(?:href|src)=["'](?!#)|url\((?!#)""", svg)
    assert set(re.findall(r"https?://[^\"'\s]+", svg)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
