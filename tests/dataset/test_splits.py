"""Folds never split a person, and are the same with every version of every library."""

import numpy as np
from sklearn.model_selection import GroupKFold

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
    found = [(problem.code, problem.place, problem.expected.split(" show ")[1]) for problem in lacking_folds(drawn, 3)]
    assert found == [
        ("folds.class_not_validated", "fold 2", "not in 2"),
        ("folds.class_not_trained", "fold 1", "only in 1"),
        ("folds.class_not_validated", "fold 0", "only in 1"),
        ("folds.class_not_validated", "fold 2", "only in 1"),
    ]


def test_as_many_people_as_folds_is_enough() -> None:
    assert sorted(assign_folds({"a": 2, "b": 2, "c": 1}, 3, 0).values()) == [0, 1, 2]
