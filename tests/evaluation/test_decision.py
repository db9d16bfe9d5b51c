"""One decision for validation and submission: how it is stored and what it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from handbone.evaluation.decision import CleanUp, Decision, Gain, SearchRecord, decide, decided_counts
from handbone.masks.boxed import BoxedMasks
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks

if TYPE_CHECKING:
    from conftest import Fails

# one class whose probability rises from left to right, at a quarter of the full resolution
MAPS = CroppedMaps.from_dense(np.linspace(0, 255, 16).astype(np.uint8)[None, None].repeat(8, 1))
SHAPE = (32, 64)
CLASSES = ["Radius"]


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, counts = tmp_path / "decision.json", tmp_path / "counts.csv"
    counts.write_text("counts under the decision")
    Decision(0.45).save(path, counts)
    assert Decision.load(path, CLASSES) == Decision.load(path, CLASSES, counts) == Decision(0.45)


@pytest.mark.parametrize("changed", ["decision.json", "counts.csv"])
def test_counts_of_another_decision_are_an_error(tmp_path: Path, fails: Fails, changed: str) -> None:
    """Otherwise the metrics beside a submission would be those of another threshold."""
    path, counts = tmp_path / "decision.json", tmp_path / "counts.csv"
    counts.write_text("0.45")
    Decision(0.45).save(path, counts)
    (tmp_path / changed).write_text((tmp_path / changed).read_text().replace("0.45", "0.46"))
    with fails("decision.counts", "decision.json"):
        Decision.load(path, CLASSES, counts)


@pytest.mark.parametrize("value", ['"0.5"', "true", "[0.5]", "0", "1", "-0.5", "1.5"])
def test_a_threshold_that_is_none_is_an_error(tmp_path: Path, fails: Fails, value: str) -> None:
    (tmp_path / "decision.json").write_text(f'{{"threshold": {value}, "clean_up": {{}}, "searches": {{}}, "members": {{}}}}')
    with fails("decision.value", "decision.json: threshold"):
        Decision.load(tmp_path / "decision.json", CLASSES)


@pytest.mark.parametrize("text", ["[]", "0.5", '"a"'])
def test_a_document_that_is_no_decision_is_an_error(tmp_path: Path, fails: Fails, text: str) -> None:
    (tmp_path / "decision.json").write_text(text)
    with fails("decision.key", "decision.json"):
        Decision.load(tmp_path / "decision.json", CLASSES)


@pytest.mark.parametrize(
    ("change", "key"), [({"treshold": 0.4}, "treshold"), ({"threshold": None}, "threshold"), ({"clean_up": None}, "clean_up")]
)
def test_unknown_and_missing_keys_are_errors(tmp_path: Path, fails: Fails, change: dict[str, float | None], key: str) -> None:
    document = {
        name: value
        for name, value in ({"threshold": 0.5, "clean_up": {}, "searches": {}, "members": {}} | change).items()
        if value is not None
    }
    (tmp_path / "decision.json").write_text(json.dumps(document))
    with fails("decision.key", f"decision.json: {key}"):
        Decision.load(tmp_path / "decision.json", CLASSES)


def test_without_the_file_it_says_so(tmp_path: Path, fails: Fails) -> None:
    with fails("stage.input_missing", "decision.json"):
        Decision.load(tmp_path / "decision.json", CLASSES)


def test_a_lower_threshold_gives_larger_masks_at_full_resolution() -> None:
    areas = [decide([MAPS], SHAPE, Decision(threshold)).areas()[0] for threshold in (0.25, 0.5, 0.75)]
    assert areas[0] > areas[1] > areas[2] > 0
    assert areas[1] == pytest.approx(32 * 64 / 2, rel=0.05)


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_counts_are_those_of_the_decided_masks(threshold: float) -> None:
    truth = np.zeros((1, *SHAPE), bool)
    truth[:, 4:20, 30:50] = True
    masks = decide([MAPS], SHAPE, Decision(threshold)).boxed().dense()
    expected = [(masks & truth).sum(), (masks & ~truth).sum(), (~masks & truth).sum()]
    assert decided_counts([MAPS], PackedMasks.pack(BoxedMasks.from_dense(truth)), Decision(threshold)).tolist() == [expected]


TWO = CroppedMaps.from_dense(np.stack([np.linspace(0, 255, 16).astype(np.uint8)[None].repeat(8, 0)] * 2))
NAMES = ["Radius", "Ulna"]
THREE_ENDS = {"in_sample": 0.0, "nested": 0.0, "interval": [0.0, 0.1, 0.2]}
SEARCHED = Decision(
    {"Radius": 0.25, "Ulna": 0.75},
    {"Radius": CleanUp(min_area=0.6), "Ulna": CleanUp(largest=True, fill_holes=True)},
    {"threshold": SearchRecord("two thresholds", Gain(0.02, 0.01, [0.005, 0.015]), True, {"Radius": "0.25"}, {})},
)


def test_a_searched_decision_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, counts = tmp_path / "decision.json", tmp_path / "counts.csv"
    counts.write_text("counts under the decision")
    SEARCHED.save(path, counts)
    assert Decision.load(path, NAMES, counts) == SEARCHED


def test_each_class_has_its_threshold_and_clean_up() -> None:
    radius, ulna = (decide([TWO], SHAPE, Decision(threshold)).areas()[0] for threshold in (0.25, 0.75))
    assert decide([TWO], SHAPE, Decision(SEARCHED.threshold)).areas().tolist() == [radius, ulna]
    assert 0.6 < radius / (32 * 64) < 0.8
    assert decide([TWO], SHAPE, SEARCHED).areas().tolist() == [radius, ulna]
    stricter = Decision(SEARCHED.threshold, {"Radius": CleanUp(min_area=0.8), "Ulna": CleanUp()})
    assert decide([TWO], SHAPE, stricter).areas().tolist() == [0, ulna]


def test_a_clean_up_does_nothing_unless_it_is_asked_to() -> None:
    assert CleanUp() == CleanUp(largest=False, min_area=0.0, fill_holes=False)


def test_a_component_as_large_as_the_smallest_area_stays() -> None:
    maps = CroppedMaps.from_dense(np.full((1, 3, 7), 255, np.uint8))
    assert decide([maps], (3, 7), Decision(0.5, {"a": CleanUp(min_area=20 / 21)})).areas().tolist() == [21]
    maps = CroppedMaps.from_dense(np.pad(np.full((1, 1, 3), 255, np.uint8), [(0, 0), (1, 1), (2, 2)]))
    areas = [decide([maps], (3, 7), Decision(0.5, {"a": CleanUp(min_area=share)})).areas()[0] for share in (3 / 21, 3.01 / 21)]
    assert areas == [3, 0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threshold", {"Radius": 0.5, "Ulna": "0.5"}),
        ("clean_up", {"Radius": {"largest": 1, "min_area": 0.0, "fill_holes": False}, "Ulna": {}}),
        ("clean_up", {"Radius": {"smallest": True}, "Ulna": {}}),
        ("clean_up", {"Radius": {"min_area": 1.0}, "Ulna": {}}),
        ("clean_up", []),
        ("searches", {"threshold": {"tried": "much"}}),
        ("searches", {"threshold": {"tried": "", "gain": THREE_ENDS, "accepted": True, "found": {}, "per_class": {}}}),
    ],
)
def test_a_value_of_another_type_inside_is_an_error(tmp_path: Path, fails: Fails, key: str, value: object) -> None:
    (tmp_path / "decision.json").write_text(json.dumps({"threshold": 0.5, "clean_up": {}, "searches": {}, "members": {}} | {key: value}))
    with fails("decision.value", f"decision.json: {key}"):
        Decision.load(tmp_path / "decision.json", NAMES)


def test_a_decision_for_other_classes_is_an_error(tmp_path: Path, fails: Fails) -> None:
    SEARCHED.save(tmp_path / "decision.json")
    with fails("decision.classes", "decision.json: threshold", "decision.json: clean_up"):
        Decision.load(tmp_path / "decision.json", NAMES[::-1])


def test_without_a_threshold_each_pixel_has_the_most_probable_class(tmp_path: Path) -> None:
    Decision(None, members={"one": 1, "two": 3}).save(tmp_path / "decision.json")
    decision = Decision.load(tmp_path / "decision.json", ["a", "b"])
    assert decision.exclusive and not Decision(0.5).exclusive
    one, two = (CroppedMaps.from_dense(np.array([[[a, a]], [[b, b]]], np.uint8)) for a, b in ((200, 55), (110, 145)))
    assert decide([one, one], (2, 4), decision).areas().tolist() == [8, 0]
    assert decide([one, two], (2, 4), decision).areas().tolist() == [8, 0], "200 + 3 * 110 > 55 + 3 * 145"
    assert decide([two, two], (2, 4), decision).areas().tolist() == [0, 8]


def test_without_a_threshold_void_is_not_counted() -> None:
    maps = CroppedMaps.from_dense(np.array([[[255, 255, 0, 0]], [[0, 0, 255, 255]]], np.uint8))
    truth = BoxedMasks.from_dense(np.array([[[1, 0, 0, 0]], [[0, 0, 1, 0]]], bool))
    counts = decided_counts([maps], PackedMasks.pack(truth), Decision(None))
    assert counts.tolist() == [[1, 0, 0], [1, 0, 0]]
    assert decided_counts([maps], PackedMasks.pack(truth), Decision(0.5)).tolist() == [[1, 1, 0], [1, 1, 0]]


def test_what_each_class_has_alone_needs_a_threshold(tmp_path: Path, fails: Fails) -> None:
    Decision(None, {"Radius": CleanUp(largest=True)}, members={"one": {"Radius": 2}}).save(tmp_path / "decision.json")
    with fails("decision.value", "decision.json: clean_up", "decision.json: members: one"):
        Decision.load(tmp_path / "decision.json", CLASSES)


def test_members_are_joined_by_their_weights_before_the_threshold(tmp_path: Path) -> None:
    """Class a is sure in one member, class b in the other: at 0.5 each needs more than half of the weights."""
    one, two = (CroppedMaps.from_dense(np.array([[[a]], [[b]]], np.uint8).repeat(2, 2)) for a, b in ((255, 0), (0, 255)))
    for weights, areas in (
        ({"current": 2, "unet": 1}, [8, 0]),
        ({"current": 0, "unet": 1000}, [0, 8]),
        ({"current": {"a": 2, "b": 1}, "unet": {"a": 1, "b": 2}}, [8, 8]),
    ):
        Decision(0.5, members=weights).save(tmp_path / "decision.json")
        decision = Decision.load(tmp_path / "decision.json", ["a", "b"])
        assert decision.names == ["current", "unet"]
        assert decide([one, two], (2, 4), decision).areas().tolist() == areas
    assert Decision(0.5).names == ["current"], "without members the current run alone"


@pytest.mark.parametrize("weight", [-1, 1001, 0.5, {"Radius": 1001, "Ulna": 1}])
def test_a_weight_that_is_none_is_an_error(tmp_path: Path, fails: Fails, weight: object) -> None:
    document = {"threshold": 0.5, "clean_up": {}, "searches": {}, "members": {"unet": weight}}
    (tmp_path / "decision.json").write_text(json.dumps(document))
    with fails("decision.value", "decision.json: members.unet"):
        Decision.load(tmp_path / "decision.json", NAMES)


def test_a_class_in_which_no_member_has_a_weight_is_an_error(tmp_path: Path, fails: Fails) -> None:
    Decision(0.5, members={"one": 0, "two": {"Radius": 1, "Ulna": 0}}).save(tmp_path / "decision.json")
    with fails("decision.value", "decision.json: members: Ulna") as error:
        Decision.load(tmp_path / "decision.json", NAMES)
    assert len(error.value.places) == 1
