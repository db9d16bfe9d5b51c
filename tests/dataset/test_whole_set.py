"""Faults that no single file shows."""

from dataclasses import replace

import numpy as np
import pytest

from handbone.cache.sample import CachedSample
from handbone.dataset.layout import Sample
from handbone.dataset.whole_set import SampleFacts, facts_of, whole_set_problems
from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks

CLASSES = ["a", "b"]
SOUND = [
    SampleFacts("train", "A/1", "A", "hash 1", False, [5, 0], (0.9, 0.5)),
    SampleFacts("train", "A/2", "A", "hash 2", False, [0, 7], (0.2, 0.2)),
    SampleFacts("train", "B/3", "B", "hash 3", False, [5, 7], (0.3, 1.0)),
    SampleFacts("test", "C/4", "C", "hash 4", False, None, (0, 0)),
]


def found(facts: list[SampleFacts]) -> list[tuple[str, str]]:
    return [(problem.code, problem.place) for problem in whole_set_problems(facts, CLASSES)]


def test_a_sound_set_has_no_warning() -> None:
    assert found(SOUND) == []


def test_a_class_that_nobody_drew() -> None:
    assert found([replace(fact, areas=fact.areas and [fact.areas[0], 0]) for fact in SOUND]) == [("set.class_never_drawn", "class b")]


def test_polygons_that_are_all_in_one_corner() -> None:
    assert found([replace(fact, reach=(fact.reach[0] / 3, fact.reach[1] / 3)) for fact in SOUND]) == [("set.scale", "all annotations")]
    assert found([replace(fact, reach=(fact.reach[0], fact.reach[1] / 3)) for fact in SOUND]) == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0, 1, []),  # of one person: no score suffers
        (0, 2, [("set.equal_images", "train/A/1 = train/B/3")]),
        (0, 3, [("set.equal_images", "train/A/1 = test/C/4")]),
    ],
)
def test_equal_images(first: int, second: int, expected: list[tuple[str, str]]) -> None:
    facts = list(SOUND)
    facts[second] = replace(facts[second], pixels=facts[first].pixels)
    assert found(facts) == expected


def test_constant_images_are_not_called_equal_too() -> None:
    facts = [replace(fact, pixels="black", constant=True) for fact in SOUND[:3]] + SOUND[3:]
    assert found(facts) == [("set.constant_image", fact.name) for fact in SOUND[:3]]


def test_a_person_in_train_and_test() -> None:
    assert found([*SOUND[:3], replace(SOUND[3], person="B")]) == [("set.shared_person", "person B")]


def test_the_facts_of_a_sample() -> None:
    masks = PackedMasks.pack(BoxedMasks.from_crops((20, 40), [(5, 10), (0, 0)], [np.ones((5, 10), bool), np.zeros((0, 0), bool)]))
    image = np.arange(200, dtype=np.uint8).reshape(10, 20)
    sample, cached = Sample("train", "A/1", None, None), CachedSample(image, (20, 40), masks)  # type: ignore[arg-type]
    facts = facts_of(sample, cached)
    assert (facts.name, facts.person, facts.areas, facts.reach, facts.constant) == ("train/A/1", "A", [50, 0], (0.5, 0.5), False)
    others = [replace(cached, image=image.reshape(20, 10)), replace(cached, shape=(40, 80)), replace(cached, image=image + 1)]
    assert len({facts.pixels, *(facts_of(sample, other).pixels for other in others)}) == 4
    assert facts_of(sample, replace(cached, image=image.copy())).pixels == facts.pixels
    assert facts_of(sample, replace(cached, image=np.full((10, 20), 3, np.uint8), masks=None)).constant


def test_overlaps_and_void_are_worth_a_warning_if_classes_exclude_each_other() -> None:
    def codes(facts: list[SampleFacts], exclusive: bool) -> list[str]:
        return [problem.code for problem in whole_set_problems(facts, CLASSES, exclusive)]

    drawn = sum(sum(fact.areas or ()) for fact in SOUND)
    void = [replace(SOUND[0], void=drawn), *SOUND[1:]]
    overlapping = [replace(SOUND[0], overlap=1), *SOUND[1:]]
    assert codes(void, True) == [] and codes([replace(void[0], void=drawn + 1), *SOUND[1:]], True) == ["set.void"]
    assert codes(overlapping, True) == ["set.overlap"]
    assert codes([replace(SOUND[0], void=99, overlap=9), *SOUND[1:]], False) == []
