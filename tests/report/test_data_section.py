"""What the page says about the data: numbers by hand, names escaped, and nothing from outside."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from handbone.cache.sample import CachedSample
from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks
from handbone.report.data_section import training_data_section
from handbone.report.data_statistics import DataSet, class_statistics, describe_data

CLASSES = ["large", "<b>small", "never"]
POINTS = {"points": {"large": {"polygons": 1234, "min": 4, "median": 5.5, "max": 9}}}


def sample(dense: np.ndarray) -> CachedSample:
    return CachedSample(np.zeros((20, 20), np.uint8), (20, 20), PackedMasks.pack(BoxedMasks.from_dense(dense)))


def squares(small: bool) -> np.ndarray:
    """(3, 20, 20): a square of 100 pixels, and one of 16 pixels of which 8 lie in it."""
    dense = np.zeros((3, 20, 20), bool)
    dense[0, :10, :10] = True
    dense[1, 8:12, 2:6] = small
    return dense


def one_image(dense: np.ndarray) -> str:
    """The section of a single image of a single person."""
    train = pd.DataFrame({"key": ["A/1"], "person": ["A"]})
    data = describe_data([train.assign(fold=0), train, train[:0]], CLASSES[: len(dense)], lambda _: sample(dense))
    return str(training_data_section(data, {}).body)


@pytest.fixture
def data() -> DataSet:
    """Three images of two people, of which the last one lacks the small class."""
    images = {"A/1": squares(True), "A/2": squares(True), "B/1": squares(False)}
    train = pd.DataFrame({"key": list(images), "person": list("AAB")})
    folds = train.assign(fold=[1, 1, 0])[::-1]  # in another order than the index
    train = train.assign(person_wrist=["bent", "bent", "<i>flat"], person_age=["1", "2", ""])
    test = pd.DataFrame({"key": ["C/1"], "person": ["C"], "person_wrist": ["bent"]})
    return describe_data([folds, train, test], CLASSES, lambda key: sample(images[key]))


def test_shares_are_of_all_pixels_of_a_class(data: DataSet) -> None:
    found = data.statistics
    assert found.pixels.tolist() == [400] * 3
    assert found.areas.tolist() == [[100, 16, 0], [100, 16, 0], [100, 0, 0]]
    assert found.within.tolist() == [[0, 16 / 300, 0], [16 / 32, 0, 0], [0, 0, 0]]
    assert found.multiple.tolist() == [16 / 300, 16 / 32, 0] and found.contested == 16 / (108 + 108 + 100)


def test_the_smallest_class_keeps_what_is_shared(data: DataSet) -> None:
    dice = (2 * 92 + 1e-4) / (192 + 1e-4)
    assert data.statistics.exclusive == pytest.approx([(dice + dice + 1) / 3, 1, 1])


def test_no_exclusive_labels_are_better_for_the_mean_where_sizes_differ_much() -> None:
    """Brute force over all numbers of the shared pixels that the large class could get."""

    def mean(to_large: int) -> float:
        return (2 * (92 + to_large) / (192 + to_large) + 2 * (16 - to_large) / (32 - to_large)) / 2

    best = max(mean(number) for number in range(9))
    assert class_statistics([PackedMasks.pack(BoxedMasks.from_dense(squares(True)))]).exclusive[:2].mean() == pytest.approx(best, abs=1e-6)


def test_folds_and_people_are_counted(data: DataSet) -> None:
    assert data.folds.to_dict("index") == {
        0: {"images": 1, "people": 1, "<b>small": 0, "never": 0},
        1: {"images": 2, "people": 1, "<b>small": 2, "never": 0},
    }
    assert data.people.to_dict() == {"A": 2, "B": 1}


def test_values_are_counted_by_fold_and_in_the_test_set(data: DataSet) -> None:
    assert data.values.loc["wrist"].to_dict("index") == {
        "<i>flat": {"fold 0": 1, "fold 1": 0, "test": 0},
        "bent": {"fold 0": 0, "fold 1": 2, "test": 1},
    }
    assert data.values.loc["age"].to_dict("index")[""] == {"fold 0": 1, "fold 1": 0, "test": 0}, "unknown"


def test_the_section_shows_every_part_and_escapes_names(data: DataSet) -> None:
    html = training_data_section(data, POINTS).body
    for text in ("&lt;b&gt;small", "wrist: &lt;i&gt;flat", "age: unknown", "1,234", "0.9722", "1 with 1, 1 with 2"):
        assert text in html, text
    assert "<b>" not in html and "<i>" not in html and not re.findall(r'(?:src|href)="', html)
    rows = [re.sub("<[^>]+>", " ", row).split() for row in re.findall("<tr>(.*?)</tr>", html)]
    assert ["large", "100", "3", "1,234", "5.5", "4", "9", "5.3", "0.9722"] in rows
    assert ["&lt;b&gt;small", "large", "50.0", "5.3"] in rows and ["large", "&lt;b&gt;small", "5.3", "50.0"] not in rows, "each pair once"


def test_data_without_overlaps_or_attributes_have_a_short_section() -> None:
    html = one_image(squares(False)[:1])
    assert "Overlaps" in html and "<title>" not in html and "Value" not in html and "<details" not in html


def test_data_without_a_mask_have_a_section() -> None:
    assert "No class is drawn." in one_image(np.zeros((2, 20, 20), bool))
