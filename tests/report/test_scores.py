"""The scores behind the page: by image, class, person and fold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from handbone.evaluation.dice import dice, mean_dice
from handbone.report.scores import Scores

CLASSES = ["Radius", "Ulna"]


def table(people: int, images: int = 2, **columns: object) -> pd.DataFrame:
    """Counts of some images per person, two classes."""
    rng = np.random.default_rng(people)
    keys = [f"ID{person:03}/{image}" for person in range(people) for image in range(images)]
    rows = [(key, label, int(key[2:5]) % 2, *rng.integers(10, 100, 3)) for key in keys for label in CLASSES]
    return pd.DataFrame(rows, columns=["key", "class", "fold", "tp", "fp", "fn"]).assign(**columns)


def test_means_are_those_of_the_metrics() -> None:
    counts = table(8)
    scores, rows = Scores.of(counts), Scores.of(counts).by_class(Scores.of(table(3)))
    assert scores.dice.mean() == pytest.approx(mean_dice(counts))
    for fold in (0, 1):
        assert rows[f"fold {fold}"].mean() == pytest.approx(mean_dice(counts[counts["fold"] == fold]))
    assert rows["test"].mean() == pytest.approx(mean_dice(table(3)))
    assert rows["class"].tolist() == CLASSES
    assert (scores.iou < scores.dice).all()


def test_rows_may_be_in_any_order() -> None:
    counts = table(4)
    shuffled = Scores.of(counts.sample(frac=1, random_state=0))
    first = Scores.of(counts)
    assert dict(zip(first.keys, first.folds, strict=True)) == dict(zip(shuffled.keys, shuffled.folds, strict=True))
    order = [shuffled.keys.index(key) for key in first.keys]
    classes = [shuffled.classes.index(name) for name in first.classes]
    np.testing.assert_array_equal(shuffled.dice[order][:, classes], first.dice)


def test_the_spread_is_that_of_people_and_not_of_images() -> None:
    """Two people: one always right, one always with a Dice of one half."""
    counts = table(2, images=3)
    right = counts["key"].str.startswith("ID000")
    counts[["tp", "fp", "fn"]] = np.where(right.to_numpy()[:, None], [100, 0, 0], [50, 50, 50])
    row = Scores.of(counts).by_class(Scores.of(counts[:0])).iloc[0]
    half = float(dice(np.array([50, 50, 50])))
    assert row["std"] == pytest.approx(np.std([1, half], ddof=1))
    assert (row["low"], row["high"], row["worst"]) == pytest.approx((1 - 0.75 * (1 - half), 1 - 0.25 * (1 - half), half))
    assert "test" not in row


def test_the_interval_holds_the_mean_and_needs_people() -> None:
    scores = Scores.of(table(30))
    found = scores.interval()
    assert found and 0 < found[0] < scores.dice.mean() < found[1] < 1 and found[1] - found[0] < 0.3
    assert Scores.of(table(1)).interval() is None
    assert Scores.of(table(2)).interval() is None, "two people do not tell"


def test_without_a_search_every_score_is_unseen() -> None:
    scores = Scores.of(table(3))
    np.testing.assert_array_equal(scores.unseen, scores.dice)
    searched = Scores.of(table(3, nested_tp=1, nested_fp=9, nested_fn=9))
    assert (searched.unseen < searched.dice).any() and np.ptp(searched.unseen) == 0


def test_the_lowest_classes_come_in_order() -> None:
    scores = Scores.of(table(3))
    assert scores.lowest(0) == scores.dice[0].argsort().tolist()
