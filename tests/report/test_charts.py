"""Charts: complete, in order, readable in every look, and the same bytes each time."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from handbone.report.charts import DARK, LIGHT, Look, chart, classes_svg, curves_svg
from handbone.utils.io import read_table

LOOKS = [Look(dark, narrow) for dark in (False, True) for narrow in (False, True)]


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
    loss, dice, *_ = lines_of_fold(curves_svg({0: read_table(tmp_path / "curve.csv")}), LIGHT.folds[0])
    assert len(loss) == 8 and len(dice) == 4
    assert dice == sorted(dice, reverse=True), "the scores rise, and no point between them falls to zero"


def rows(**columns):
    dice = np.array([0.97, 0.93, 0.81, np.nan])
    return pd.DataFrame(
        {"class": ["Radius", "Lunate", "Pisiform", "absent"], "dice": dice, "low": dice - 0.01, "high": dice + 0.01, **columns}
    )


def test_classes_are_sorted_worst_first_and_unseen_classes_last():
    shown = [text for text in texts(classes_svg(rows())) if text in set(rows()["class"])]
    assert shown == ["Pisiform", "Lunate", "Radius", "absent"]


def test_classes_show_the_test_set_only_where_there_is_truth():
    assert "test mean" not in texts(classes_svg(rows()))
    assert "test mean" not in texts(classes_svg(rows(test=[np.nan] * 4)))
    assert "test mean" in texts(classes_svg(rows(test=[0.96, 0.2, np.nan, np.nan])))


def test_class_names_are_text_and_nothing_else():
    names = ["<b>", "a & b", "$x^2$", "요골"]
    assert set(names) <= set(texts(classes_svg(rows().assign(**{"class": names}))))


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("draw", [lambda look: classes_svg(rows(), look), lambda look: curves_svg({0: curve(0.1, 0.2)}, look)])
def test_charts_are_the_same_bytes_each_time_and_have_no_links(draw, look):
    svg = draw(look)
    assert svg == draw(look)
    assert not re.findall(r"""(?:href|src)=["'](?!#)|url\((?!#)""", svg)
    assert set(re.findall(r"https?://[^\"'\s]+", svg)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def luminance(colour):
    """WCAG 2.1: relative luminance of #rrggbb, 0..1."""
    shares = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_every_line_stands_out_from_the_card(colours):
    """By the contrast of 3 that WCAG 2.1 asks of graphics (1.4.11)."""
    for colour in (*colours.folds, colours.ink, colours.main, colours.second, colours.better, colours.worse, colours.same):
        dark, light = sorted([luminance(colour), luminance(colours.card)])
        assert (light + 0.05) / (dark + 0.05) >= 3, colour


def test_a_chart_has_a_picture_for_each_screen():
    drawn = []
    chart(lambda look: drawn.append(look) or "<svg/>", "x", narrow=True)
    assert sorted(map(repr, drawn)) == sorted(map(repr, LOOKS))
    drawn.clear()
    page = chart(lambda look: drawn.append(look) or "<svg/>", '"x"')
    assert {look.narrow for look in drawn} == {False} and "&quot;x&quot;" in page
