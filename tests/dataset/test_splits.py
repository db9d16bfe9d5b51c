"""Folds never split a person, and are the same with every version of every library."""

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from conftest import Fails
from handbone.dataset.splits import assign_folds, lacking_folds

PEOPLE = {f"ID{number:03d}": 1 + number * 7 % 5 for number in range(40)}


def test_the_folds_never_change() -> None:
    """A submission's models must be reproducible on a machine with other versions."""
    assert assign_folds({f"ID{n:03d}": 2 for n in range(8)}, 4, 1) == {
        "ID000": 1,
        "ID001": 3,
        "ID002": 2,
        "ID003": 2,
        "ID004": 1,
        "ID005": 3,
        "ID006": 0,
        "ID007": 0,
    }


def test_the_order_of_people_does_not_matter() -> None:
    shuffled = dict(sorted(PEOPLE.items(), key=lambda item: hash(item[0])))
    assert assign_folds(shuffled, 5, 0) == assign_folds(PEOPLE, 5, 0)


def test_seeds_differ() -> None:
    assert assign_folds(PEOPLE, 5, 0) != assign_folds(PEOPLE, 5, 1)


def test_folds_are_as_even_as_those_of_scikit_learn() -> None:
    groups = np.repeat(list(PEOPLE), list(PEOPLE.values()))
    theirs = sorted(len(val) for _, val in GroupKFold(5).split(groups, groups=groups))
    folds = assign_folds(PEOPLE, 5, 3)
    ours = sorted(sum(count for person, count in PEOPLE.items() if folds[person] == fold) for fold in range(5))
    assert ours == theirs


def test_fewer_people_than_folds_is_an_error(fails: Fails) -> None:
    with fails("folds.too_many", "split.n_folds"):
        assign_folds({"a": 2, "b": 2}, 3, 0)


def test_a_fold_that_lacks_a_class_is_a_warning() -> None:
    drawn = {"everywhere": {0, 1, 2}, "not in 2": {0, 1}, "only in 1": {1}, "nowhere": set()}
    found = [(problem.code, problem.place, problem.expected.split(" show ")[1]) for problem in lacking_folds(drawn, 3, "class")]
    assert found == [
        ("folds.class_not_validated", "fold 2", "not in 2"),
        ("folds.class_not_trained", "fold 1", "only in 1"),
        ("folds.class_not_validated", "fold 0", "only in 1"),
        ("folds.class_not_validated", "fold 2", "only in 1"),
    ]


def test_as_many_people_as_folds_is_enough() -> None:
    assert sorted(assign_folds({"a": 2, "b": 2, "c": 1}, 3, 0).values()) == [0, 1, 2]


def test_a_fold_that_lacks_a_value_is_a_warning_too() -> None:
    assert {problem.code for problem in lacking_folds({"wrist=bent": {1}}, 2, "value")} == {
        "folds.value_not_trained",
        "folds.value_not_validated",
    }


BENT = {"ID003", "ID008", "ID013", "ID021"}


def range_over_folds(counts: dict[str, int], folds: dict[str, int], n_folds: int) -> int:
    """Images in the fullest fold minus images in the emptiest."""
    images = [sum(count for person, count in counts.items() if folds[person] == fold) for fold in range(n_folds)]
    return max(images) - min(images)


def test_balanced_folds_never_change() -> None:
    images = {f"ID{n:03d}": 2 for n in range(8)}
    wrists = {"wrist=bent": {"ID006": 2, "ID007": 2}, "wrist=straight": {f"ID{n:03d}": 2 for n in range(6)}}
    assert assign_folds(images, 4, 1, wrists) == {
        "ID006": 0,
        "ID007": 1,
        "ID004": 2,
        "ID003": 3,
        "ID001": 0,
        "ID000": 1,
        "ID002": 2,
        "ID005": 3,
    }
    assert assign_folds(images, 4, 1)["ID006"] == assign_folds(images, 4, 1)["ID007"], "the two bent people share a fold without labels"


def test_a_rare_label_is_spread_over_the_folds() -> None:
    images = {f"ID{number:03d}": 2 for number in range(40)}
    labels = {"bent": dict.fromkeys(BENT, 2), "straight": {person: 2 for person in images if person not in BENT}}
    for seed in range(20):
        folds = assign_folds(images, 4, seed, labels)
        assert sorted(folds[person] for person in BENT) == [0, 1, 2, 3]
        assert range_over_folds(images, folds, 4) == 0


def chi_square(counts: list[dict[str, int]], folds: dict[str, int], n_folds: int) -> Fraction:
    """Pearson's statistic of the people who have a fold so far, against the equal shares that all would give."""
    statistic = Fraction(0)
    for images in counts:
        share = Fraction(sum(images.values()), n_folds)
        for fold in range(n_folds):
            observed = sum(number for person, number in images.items() if folds.get(person) == fold)
            statistic += (observed - share) ** 2 / share
    return statistic


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.integers(0, 2)), min_size=3, max_size=12), st.integers(2, 3))
def test_each_person_goes_where_the_chi_square_statistic_stays_lowest(people: list[tuple[int, bool, int]], n_folds: int) -> None:
    names = [f"P{number:02d}" for number in range(len(people))]
    images = {name: number for name, (number, _, _) in zip(names, people, strict=True)}
    labels = {
        f"bent={value}": {name: row[0] for name, row in zip(names, people, strict=True) if row[1] is value} for value in (True, False)
    }
    labels |= {"class": {name: min(row[0], row[2]) for name, row in zip(names, people, strict=True)}}
    labels = {label: images for label, images in labels.items() if sum(images.values())}
    counts = [images, *labels.values()]

    def order(person: str) -> tuple[object, ...]:
        total, label = min((sum(of.values()), label) for label, of in [("", images), *labels.items()] if of.get(person))
        return -images[person], total, label, hashlib.sha256(f"1/{person}".encode()).hexdigest()

    slow: dict[str, int] = {}
    for person in sorted(names, key=order):
        slow[person] = min(range(n_folds), key=lambda fold: chi_square(counts, slow | {person: fold}, n_folds))
    assert assign_folds(images, n_folds, 1, labels) == slow


def test_a_label_that_all_or_no_images_have_changes_nothing() -> None:
    assert assign_folds(PEOPLE, 5, 3, {"all": PEOPLE, "none": {}}) == assign_folds(PEOPLE, 5, 3)


@given(st.lists(st.integers(1, 5), min_size=4, max_size=40), st.integers(2, 4), st.integers(0, 9))
def test_without_labels_each_person_goes_to_the_fold_with_fewest_images(counts: list[int], n_folds: int, seed: int) -> None:
    images = {f"P{number:02d}": count for number, count in enumerate(counts)}
    plain, totals = {}, [0] * n_folds
    for person in sorted(images, key=lambda name: (-images[name], hashlib.sha256(f"{seed}/{name}".encode()).hexdigest())):
        plain[person] = totals.index(min(totals))
        totals[plain[person]] += images[person]
    assert assign_folds(images, n_folds, seed) == plain


@given(st.lists(st.integers(0, 3), min_size=4, max_size=60), st.integers(2, 4), st.integers(0, 9))
def test_one_attribute_of_people_with_equally_many_images_is_as_even_as_can_be(values: list[int], n_folds: int, seed: int) -> None:
    images = {f"P{number:02d}": 2 for number in range(len(values))}
    people = dict(zip(images, values, strict=True))
    labels = {str(value): {person: 2 for person in images if people[person] == value} for value in set(values)}
    folds = assign_folds(images, n_folds, seed, labels)
    assert all(range_over_folds(counts, folds, n_folds) <= 2 for counts in [images, *labels.values()])


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_folds_are_as_balanced_as_those_of_scikit_learn() -> None:
    """Two attributes at once, which StratifiedGroupKFold knows only as one label of all their combinations."""
    rng = np.random.default_rng(0)
    ours, theirs = [], []
    for seed in range(20):
        people = {f"P{number:03d}": f"{rng.random() < 0.12}/{rng.integers(4)}" for number in range(60)}
        images = {person: int(rng.integers(1, 4)) for person in people}
        labels = {
            f"{part}={value}": {person: images[person] for person, text in people.items() if text.split("/")[part] == value}
            for part in (0, 1)
            for value in {text.split("/")[part] for text in people.values()}
        }
        groups = np.repeat(list(images), list(images.values()))
        kfold = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(groups, [people[person] for person in groups], groups)
        sklearn_folds = {str(person): fold for fold, (_, val) in enumerate(kfold) for person in groups[val]}
        for folds, found in ((assign_folds(images, 5, seed, labels), ours), (sklearn_folds, theirs)):
            found.append(np.mean([range_over_folds(counts, folds, 5) for counts in labels.values()]))
    assert np.mean(ours) < np.mean(theirs)


def test_the_order_of_people_and_labels_does_not_matter() -> None:
    labels = {"a": {"ID003": 1, "ID004": 1}, "b": {"ID005": 1, "ID009": 2, "ID010": 1}}
    shuffled = dict(sorted(PEOPLE.items(), key=lambda item: hash(item[0])))
    assert assign_folds(shuffled, 5, 0, dict(reversed(labels.items()))) == assign_folds(PEOPLE, 5, 0, labels)
