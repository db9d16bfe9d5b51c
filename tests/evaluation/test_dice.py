"""The competition's formula, from counts."""

import numpy as np
import pandas as pd
import pytest

from handbone.evaluation.dice import count, counts_table, dice, mean_dice, per_class
from handbone.evaluation.metrics import summarise
from handbone.masks.boxed import BoxedMasks
from handbone.masks.runs import RunLengthMasks


def runs_of(masks: np.ndarray) -> RunLengthMasks:
    return RunLengthMasks.from_boxed(BoxedMasks.from_dense(masks))


def plain_dice(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The competition's formula, on dense masks."""
    eps = 0.0001
    intersection = (truth & predicted).sum((1, 2))
    return (2.0 * intersection + eps) / (truth.sum((1, 2)) + predicted.sum((1, 2)) + eps)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((0, 0, 0), 1.0), ((5, 0, 0), 1.0), ((0, 7, 0), 0.0001 / 7.0001), ((0, 0, 7), 0.0001 / 7.0001), ((6, 2, 4), 12.0001 / 18.0001)],
)
def test_known_counts(counts: tuple[int, int, int], expected: float) -> None:
    assert dice(np.array(counts)) == pytest.approx(expected, abs=1e-15)


def test_counts_of_runs_give_the_plain_dice() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.random((2, 29, 40, 50)) < 0.3
    truth[0] = predicted[0] = truth[1] = predicted[2] = False
    counts = count(runs_of(predicted), runs_of(truth))
    assert np.allclose(dice(counts), plain_dice(truth, predicted), atol=1e-15)


def table() -> pd.DataFrame:
    first = counts_table("p/1", ["b", "a"], np.array([[1, 0, 0], [1, 1, 1]])).assign(fold=0)
    return pd.concat([first, counts_table("q/1", ["b", "a"], np.array([[0, 0, 0], [0, 4, 0]])).assign(fold=2)], ignore_index=True)


def test_means_are_over_images_then_classes() -> None:
    classes = per_class(table())
    assert list(classes.index) == ["b", "a"]
    assert classes["a"] == pytest.approx((2.0001 / 4.0001 + 0.0001 / 4.0001) / 2)
    assert mean_dice(table()) == pytest.approx(classes.mean())


def test_the_names_in_metrics_are_fixed() -> None:
    metrics = summarise(table(), table().drop(columns="fold"))
    assert metrics["n_images"] == 2 and metrics["n_folds"] == 2 and set(metrics["dice"]["fold"]) == {"0", "2"}
    assert metrics["test"]["dice"]["mean"] == metrics["dice"]["mean"] and set(metrics["test"]["dice"]["class"]) == {"a", "b"}


def test_without_test_truth_there_is_no_test_score() -> None:
    assert "test" not in summarise(table(), table().iloc[:0])
