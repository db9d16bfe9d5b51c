"""Every Dice of a search is that of the masks under the same decision, counted the slow way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handbone.deciding.statistics import THRESHOLDS, area_shares, clean_up_dice, clean_ups, threshold_dice, weighting_dice
from handbone.evaluation.decision import CleanUp, Decision, decided_counts
from handbone.evaluation.dice import dice
from handbone.masks.boxed import BoxedMasks
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks

CLASSES = ["a", "b"]
Image = tuple[list[CroppedMaps], PackedMasks]


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Two classes, of which both the map and the truth may be empty; one member, or two at the same size or not."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    full = height * draw(st.integers(1, 4)), width * draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    members = []
    for size in draw(st.sampled_from([[(height, width)], [(height, width)] * 2, [(height, width), (1 + height // 2, width)]])):
        maps = rng.integers(0, 256, (2, *size), np.uint8) * (rng.random((2, *size)) < draw(st.sampled_from([0.0, 0.3, 1.0])))
        members.append(CroppedMaps.from_dense(maps.astype(np.uint8)))
    truth = rng.random((2, *full)) < draw(st.sampled_from([0.0, 0.05, 0.7]))
    return members, PackedMasks.pack(BoxedMasks.from_dense(truth))


def weights(maps: list[CroppedMaps]) -> dict[str, Any]:
    """Those of one member, or those of two, which differ by class for the second one."""
    return {} if len(maps) == 1 else {"x": 2, "y": {"a": 1, "b": 3}}


def slowly(maps: list[CroppedMaps], truth: PackedMasks, decisions: list[Decision]) -> np.ndarray:
    return np.stack([dice(decided_counts(maps, truth, decision)) for decision in decisions], 1)


@settings(deadline=None, max_examples=30)
@given(image=images())
def test_thresholds(image: Image) -> None:
    decisions = [Decision(threshold, members=weights(image[0])) for threshold in THRESHOLDS]
    np.testing.assert_array_equal(threshold_dice(*image, decisions[0]), slowly(*image, decisions))
    np.testing.assert_array_equal(weighting_dice(*image, decisions[:3]), slowly(*image, decisions[:3]))


@settings(deadline=None, max_examples=20)
@given(image=images())
def test_clean_ups_at_several_thresholds(image: Image) -> None:
    rules = clean_ups(["largest", "min_area", "fill_holes"])
    members = weights(image[0])
    grounds = [
        Decision(0.5, members=members),
        Decision({"a": 0.3, "b": 0.7}, members=members),
        Decision(0.5, members=dict.fromkeys(members, 1)),
    ]
    decisions = [[replace(ground, clean_up=dict.fromkeys(CLASSES, rule)) for rule in rules] for ground in grounds]
    expected = np.stack([slowly(*image, of_one) for of_one in decisions])
    np.testing.assert_array_equal(clean_up_dice(*image, decisions), expected)


@pytest.mark.parametrize(("names", "number"), [(["largest"], 2), (["min_area"], 5), (["fill_holes", "min_area"], 10)])
def test_what_is_tried_begins_with_no_clean_up_and_what_is_simple(names: list[str], number: int) -> None:
    rules = clean_ups(names)
    assert rules[0] == CleanUp() and len(rules) == len({repr(rule) for rule in rules}) == number
    parts = [rule.largest + (rule.min_area > 0) + rule.fill_holes for rule in rules]
    assert parts == sorted(parts) and max(parts) == len(names)


def test_thresholds_begin_with_the_default_and_go_away_from_it() -> None:
    assert THRESHOLDS[0] == 0.5
    assert np.all(np.diff(np.abs(np.subtract(THRESHOLDS, 0.5))) > -1e-9)
    assert 0.2 < min(THRESHOLDS) < 0.21 and 0.79 < max(THRESHOLDS) < 0.8


def test_absent_classes_have_no_area() -> None:
    truth = np.zeros((2, 4, 5), bool)
    truth[0, 1:3, 1:3] = True
    np.testing.assert_array_equal(area_shares(PackedMasks.pack(BoxedMasks.from_dense(truth))), [0.2, np.nan])
