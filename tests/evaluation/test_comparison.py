"""Which images and classes of two experiments are compared, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import Fails
from handbone.evaluation.comparison import HeldOut, compare, read_held_out
from handbone.evaluation.dice import counts_table, mean_dice

CLASSES = ["b", "a"]


def held_out(name: str, keys: list[str], classes: list[str] = CLASSES, seed: int = 0) -> HeldOut:
    """An experiment in which every true mask has 100 pixels."""
    rng = np.random.default_rng(seed)
    tables = []
    for key in keys:
        tp = rng.integers(50, 100, len(classes))
        tables.append(counts_table(key, classes, np.stack([tp, rng.integers(0, 20, len(classes)), 100 - tp], 1)))
    return HeldOut(name, pd.concat(tables, ignore_index=True), {key: key.split("/")[0] for key in keys})


def test_the_difference_is_that_of_the_scores() -> None:
    """In whatever order the second experiment has its images and classes, as with other folds."""
    first, second = held_out("one", ["A/1", "A/2", "B/1"]), held_out("two", ["B/1", "A/2", "A/1"], ["a", "b"], seed=1)
    found = compare(first, second)
    assert found.differences.mean() == pytest.approx(mean_dice(second.counts) - mean_dice(first.counts), abs=1e-15)
    assert (found.keys, found.people, found.classes, found.left_out) == (["A/1", "A/2", "B/1"], ["A", "A", "B"], CLASSES, [])
    assert found.first.shape == (3, 2) and np.array_equal(found.first, compare(first, first).second)


def test_only_what_both_have_is_compared_and_the_rest_is_named() -> None:
    """As of a quick look at one fold and a run of all."""
    found = compare(held_out("all", ["A/1", "B/1", "C/1"]), held_out("one", ["B/1", "A/1"], ["a", "c"]))
    assert (found.keys, found.classes) == (["A/1", "B/1"], ["a"])
    text = "\n".join(found.left_out)
    assert len(found.left_out) == 3 and all(name in text for name in ("C/1", "(b)", "(c)"))


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (held_out("two", ["C/1", "D/1"]), "compare.key"),
        (held_out("two", ["A/1", "B/1"], ["c"]), "compare.class"),
        (held_out("two", ["A/1", "A/2"]), "compare.people"),
    ],
)
def test_nothing_in_common_is_an_error(fails: Fails, second: HeldOut, code: str) -> None:
    with fails(code, "one and two"):
        compare(held_out("one", ["A/1", "A/2", "B/1"]), second)


def test_each_image_of_another_person_is_an_error(fails: Fails) -> None:
    first, second = held_out("one", ["A/1", "A/2", "B/1"]), held_out("two", ["A/1", "A/2", "B/1"])
    second.people.update({"A/2": "Z", "B/1": "Y"})
    with fails("compare.other_person", "A/2", "B/1"):
        compare(first, second)


def test_an_image_of_another_truth_is_named() -> None:
    first, second = held_out("one", ["A/1", "B/1"]), held_out("two", ["A/1", "B/1"], seed=1)
    assert compare(first, second).other_truth == []
    second.counts.loc[0, "fn"] += 7
    assert compare(first, second).other_truth == ["A/1"]


def test_the_tables_are_checked_while_they_are_read(tmp_path: Path, fails: Fails) -> None:
    counts, folds = tmp_path / "counts.csv", tmp_path / "folds.csv"
    counts.write_text("key,class,tp,fp,fn,fold\nA/1,a,1,2,3,0\nA/2,a,1,2,3,0\n")
    folds.write_text("key,person,fold\nA/1,A,0\nA/2,A,0\nB/1,B,1\n")
    assert read_held_out("one", counts, folds).people["A/2"] == "A"
    folds.write_text("key,person,fold\nB/1,B,1\n")
    with fails("compare.person", "A/1", "A/2"):
        read_held_out("one", counts, folds)
    counts.write_text("key,class,tp,fp,fn,fold\nA/1,a,1,2,3,0\nA/2,b,1,2,3,0\n")
    with fails("table.rows", "A/1, b", "A/2, a"):
        read_held_out("one", counts, folds)


def test_after_a_search_the_nested_counts_are_compared(tmp_path: Path) -> None:
    counts, folds = tmp_path / "counts.csv", tmp_path / "folds.csv"
    counts.write_text("key,class,tp,fp,fn,fold,nested_tp,nested_fp,nested_fn\nA/1,a,9,0,1,0,7,2,3\nB/1,a,8,1,1,0,6,3,3\n")
    folds.write_text("key,person,fold\nA/1,A,0\nB/1,B,0\n")
    assert read_held_out("one", counts, folds).array(["A/1", "B/1"], ["a"]).tolist() == [[[7, 2, 3]], [[6, 3, 3]]]
