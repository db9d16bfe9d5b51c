"""The searches of `decide`, from probabilities to a decision, on images in which it is known what helps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from handbone.config.params import DecideParams
from handbone.deciding.procedure import HeldOutImages, combined_decision, describe, make_decisions, search_clean_up
from handbone.evaluation.decision import CleanUp, Decision, Gain, SearchRecord, decided_counts
from handbone.evaluation.dice import dice
from handbone.masks.boxed import BoxedMasks
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks

if TYPE_CHECKING:
    from conftest import Fails

CLASSES = ["disc", "square"]
SIZE = 24


Image = tuple[list[CroppedMaps], PackedMasks]


def hand(rng: np.random.Generator, edge: float, specks: bool, noises: Sequence[float]) -> Image:
    """A disc and a square with blurred borders. edge: the probability at the disc's true outline; specks: a piece of it far away.

    noises: of each member.
    """
    y, x = np.mgrid[:SIZE, :SIZE]
    centre, radius = rng.uniform(9, 13, (2, 2)), rng.uniform(4, 6, 2)
    distances = np.stack(
        [
            np.hypot(y - centre[0, 0], x - centre[0, 1]) - radius[0],
            np.maximum(abs(y - centre[1, 0]), abs(x - centre[1, 1])) - radius[1],
        ]
    )
    maps = []
    for noise in noises:
        probabilities = np.clip(np.array([edge, 0.5])[:, None, None] - 0.15 * distances + rng.normal(0, noise, distances.shape), 0, 1)
        if specks:
            probabilities[0, 21:23, rng.integers(0, SIZE - 3) :][:, :2] = 1
        maps.append(CroppedMaps.from_dense(np.round(255 * probabilities).astype(np.uint8)))
    return maps, PackedMasks.pack(BoxedMasks.from_dense(distances < 0))


def images(edge: float = 0.5, specks: bool = False, people: int = 24, noises: Sequence[float] = (0.02,)) -> HeldOutImages:
    """noises: of each member."""
    rng = np.random.default_rng(0)
    of_key = {f"ID{number:02}/{side}": hand(rng, edge, specks, noises) for number in range(people) for side in "RL"}
    return HeldOutImages({key: key.split("/")[0] for key in of_key}, CLASSES, of_key.__getitem__)


def scored(some: HeldOutImages, decision: Decision) -> float:
    return float(np.mean([dice(decided_counts(*some.read(key), decision)) for key in some.people]))


def params(**changes: Any) -> DecideParams:
    return DecideParams(**changes)


def test_without_a_search_the_decision_is_the_given_one() -> None:
    decisions = make_decisions(params(threshold=0.4), images())
    assert decisions == [Decision(0.4)] * 11


def test_thresholds_that_are_better_are_found() -> None:
    some = images(edge=0.35)
    decision, *by_group = make_decisions(params(threshold="per_class"), some)
    assert isinstance(decision.threshold, dict)
    assert decision.threshold["disc"] == pytest.approx(0.35, abs=0.05) and decision.threshold["square"] == pytest.approx(0.5, abs=0.05)
    assert decision.searches["threshold"].accepted
    assert decision.searches["threshold"].gain.in_sample == pytest.approx(scored(some, decision) - scored(some, Decision(0.5)), abs=1e-9)
    assert all(isinstance(one.threshold, dict) and not one.searches for one in by_group)
    assert " of 2 classes" in describe(decision, CLASSES)[0]


def test_thresholds_that_are_no_better_stay_at_the_default() -> None:
    decision, *by_group = make_decisions(params(threshold="per_class"), images(edge=0.5))
    assert decision.threshold == 0.5 and {one.threshold for one in by_group} == {0.5}
    assert not decision.searches["threshold"].accepted
    assert "the default is kept" in describe(decision, CLASSES)[0]


@pytest.mark.parametrize(("interval", "verdict"), [([-1.0, 1.0], "too few people"), ([-0.01, 0.03], "beyond the noise")])
def test_an_interval_that_tells_nothing_is_not_called_noise(interval: list[float], verdict: str) -> None:
    record = SearchRecord("51 thresholds", Gain(0.02, 0.01, interval), False, {}, {})
    assert verdict in describe(Decision(0.5, searches={"threshold": record}), CLASSES)[0]


@pytest.mark.parametrize("rule", ["largest", "min_area"])
def test_a_clean_up_that_helps_is_found_for_the_class_that_needs_it(rule: str) -> None:
    some = images(specks=True)
    decision, *_ = make_decisions(params(clean_up=[rule]), some)
    assert decision.clean_up["disc"] != CleanUp() and decision.clean_up["square"] == CleanUp()
    assert scored(some, decision) > scored(some, Decision(0.5)) + 0.01
    (found,) = decision.searches["clean_up"].found.items()
    assert found[0] == "disc" and found[1].startswith(rule)


def test_a_clean_up_that_changes_nothing_is_not_taken() -> None:
    decision, *_ = make_decisions(params(clean_up=["largest", "min_area", "fill_holes"]), images())
    assert decision.clean_up == {} and not decision.searches["clean_up"].accepted


def test_one_search_follows_the_other() -> None:
    some = images(edge=0.35, specks=True)
    decision, *_ = make_decisions(params(threshold="per_class", clean_up=["largest"]), some)
    assert [one.accepted for one in decision.searches.values()] == [True, True]
    gains = sum(one.gain.in_sample for one in decision.searches.values())
    assert scored(some, decision) - scored(some, Decision(0.5)) == pytest.approx(gains, abs=1e-9)


def test_weights_that_are_better_are_found_and_the_next_search_builds_on_them() -> None:
    """One member is mostly noise; at the right weights the thresholds have to be those of the better one."""
    some = images(edge=0.35, noises=(0.02, 0.6))
    asked = params(members={"current": 1, "unet": 1}, weights="greedy", threshold="per_class")
    decision, *by_group = make_decisions(asked, some)
    assert decision.members == {"current": 1, "unet": 0} or decision.members["current"] > 2 * decision.members["unet"]
    assert [one.accepted for one in decision.searches.values()] == [True, True]
    assert all(one.members["current"] > one.members["unet"] for one in by_group)
    gains = sum(one.gain.in_sample for one in decision.searches.values())
    assert scored(some, decision) - scored(some, Decision(0.5, members=asked.members)) == pytest.approx(gains, abs=1e-9)


def test_weights_are_given_per_class_only_where_classes_differ() -> None:
    some = images(noises=(0.02, 0.6))
    decision, *_ = make_decisions(params(members={"current": 1, "unet": 1}, weights="per_class"), some)
    assert decision.searches["weights"].accepted and list(decision.searches["weights"].found) == CLASSES
    assert (decision.weights(2)[0] > decision.weights(2)[1]).all()


def test_only_weights_per_class_differ_between_classes() -> None:
    """Each of two members is good at one class."""
    some = images(noises=(0.02, 0.6))

    def read(key: str) -> Image:
        (good, bad), truth = some.read(key)
        of_disc, of_square = zip(good.dense(), bad.dense(), strict=True)
        return [CroppedMaps.from_dense(np.stack(maps)) for maps in ((of_disc[0], of_square[1]), (of_disc[1], of_square[0]))], truth

    mixed_members = HeldOutImages(some.people, CLASSES, read)
    (of_all, *_), (of_each, *_) = (
        make_decisions(params(members={"a": 1, "b": 1}, weights=weights), mixed_members) for weights in ("greedy", "per_class")
    )
    assert set(map(type, of_all.members.values())) == {int}
    (disc, square), searched = of_each.weights(2).T.tolist(), of_each.searches["weights"]
    assert searched.accepted and disc[0] > disc[1] and square[0] < square[1]


def test_weights_that_are_no_better_stay_as_given() -> None:
    decision, *by_group = make_decisions(params(members={"a": 2, "b": 2}, weights="greedy"), images(noises=(0.1, 0.1)))
    assert decision.members == {"a": 2, "b": 2} and not decision.searches["weights"].accepted
    assert all(one.members == {"a": 2, "b": 2} for one in by_group)


def test_a_decision_without_a_group_is_made_without_its_images() -> None:
    """Empty maps for a group of people change what the others decide nowhere but in the decisions that saw them."""
    some = images(edge=0.35, specks=True)
    group = dict(zip(some.people, some.groups().tolist(), strict=True))

    def read(key: str) -> tuple[Sequence[CroppedMaps], PackedMasks]:
        if group[key] != 3:
            return some.read(key)
        empty = CroppedMaps.from_dense(np.zeros((2, SIZE, SIZE), np.uint8))
        return [empty], PackedMasks.pack(BoxedMasks.from_dense(np.eye(SIZE, dtype=bool)[None].repeat(2, 0)))

    asked = params(threshold="per_class", clean_up=["largest", "min_area"])
    before, after = make_decisions(asked, some), make_decisions(asked, HeldOutImages(some.people, CLASSES, read))
    assert before[1 + 3].clean_up
    assert before[1 + 3] == after[1 + 3]
    assert before[1 + 4] != after[1 + 4]


def test_one_person_alone_cannot_decide(fails: Fails) -> None:
    with fails("decide.people", "params.yaml: decide"):
        make_decisions(params(threshold="per_class"), images(people=1))
    assert make_decisions(params(), images(people=1))[0] == Decision(0.5)


def test_two_people_are_enough_to_search() -> None:
    assert make_decisions(params(threshold="per_class"), images(people=2))[0].threshold == 0.5, "but nothing is beyond the noise"


def test_what_classes_have_in_common_is_written_once() -> None:
    one = Decision(0.5, {name: CleanUp() for name in CLASSES}, members={"a": 2, "b": 1})
    other = Decision(0.5, {name: CleanUp(largest=True) for name in CLASSES}, members={"a": 2, "b": 3})
    assert combined_decision([one, other], np.array([0, 0]), CLASSES) == Decision(0.5, members={"a": 2, "b": 1})
    assert combined_decision([one, other], np.array([1, 0]), CLASSES) == Decision(
        0.5, {"disc": CleanUp(largest=True), "square": CleanUp()}, members={"a": 2, "b": {"disc": 3, "square": 1}}
    )


def test_a_class_that_no_image_shows_has_no_smallest_area() -> None:
    """A median over nothing would be NaN, which no decision may hold."""
    shown, empty = images(specks=True, people=4), np.zeros((1, SIZE, SIZE), bool)

    def read(key: str) -> Image:
        maps, truth = shown.read(key)
        return maps, PackedMasks.pack(BoxedMasks.from_dense(np.concatenate([truth.unpack().dense()[:1], empty])))

    outcome = search_clean_up([Decision(0.5)] * 5, ["min_area"], HeldOutImages(shown.people, CLASSES, read))
    areas = [[one.clean_up[name].min_area for one in outcome.candidates[0]] for name in CLASSES]
    assert max(areas[0]) > 0 and set(areas[1]) == {0.0}
