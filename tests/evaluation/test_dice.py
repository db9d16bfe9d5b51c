"""The competition's formula, from counts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from handbone.evaluation.dice import (
    NESTED,
    count,
    counts_table,
    dice,
    iou,
    is_nested,
    mean_dice,
    mean_iou,
    mean_pooled_iou,
    nested_counts,
    per_class,
    pooled_iou,
    read_counts,
)
from handbone.masks.boxed import BoxedMasks
from handbone.masks.runs import RunLengthMasks

if TYPE_CHECKING:
    from conftest import Fails


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
    assert iou(np.array(counts)) == pytest.approx(expected / (2 - expected), abs=1e-4)


def test_counts_may_be_stacked() -> None:
    counts = np.arange(24).reshape(4, 2, 3)
    for score in (dice, iou):
        assert score(counts).tolist() == [[float(score(one)) for one in row] for row in counts]


def test_counts_of_runs_give_the_plain_dice() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.random((2, 29, 40, 50)) < 0.3
    truth[0] = predicted[0] = truth[1] = predicted[2] = False
    counts = count(runs_of(predicted), runs_of(truth))
    assert np.allclose(dice(counts), plain_dice(truth, predicted), atol=1e-15)


def exclusive_tables() -> tuple[pd.DataFrame, np.ndarray]:
    """Counts of three images with five classes and void, and the confusion matrix of all their pixels that are not void."""
    rng, matrix, tables = np.random.default_rng(0), np.zeros((5, 5), np.int64), []
    for key in ("p/1", "p/2", "q/1"):
        truth, predicted = rng.integers(0, 5, (40, 30)), rng.integers(0, 4, (40, 30))
        truth[rng.random(truth.shape) < 0.2] = -1
        truth[truth == 4] = 3  # class 4 is neither seen nor predicted
        np.add.at(matrix, (truth[truth >= 0], predicted[truth >= 0]), 1)
        masks = [runs_of(labels == np.arange(5)[:, None, None]) for labels in (predicted, truth)]
        tables.append(counts_table(key, list("edcba"), count(*masks, exclusive=True)))
    return pd.concat(tables, ignore_index=True), matrix


def test_void_is_not_counted_and_iou_is_that_of_the_confusion_matrix() -> None:
    counts, matrix = exclusive_tables()
    hits, sums = np.diag(matrix), counts.groupby("class", sort=False)[["tp", "fp", "fn"]].sum()
    assert sums.to_numpy().T.tolist() == [hits.tolist(), (matrix.sum(0) - hits).tolist(), (matrix.sum(1) - hits).tolist()]
    expected = hits[:4] / (matrix.sum(0) + matrix.sum(1) - hits)[:4]
    assert list(pooled_iou(counts).index) == list("edcb"), "without the class that has no pixel"
    assert np.allclose(pooled_iou(counts), expected, atol=1e-6) and mean_pooled_iou(counts) == pytest.approx(expected.mean(), abs=1e-6)


def table() -> pd.DataFrame:
    first = counts_table("p/1", ["b", "a"], np.array([[1, 0, 0], [1, 1, 1]])).assign(fold=0)
    return pd.concat([first, counts_table("q/1", ["b", "a"], np.array([[0, 0, 0], [0, 4, 0]])).assign(fold=2)], ignore_index=True)


def test_means_are_over_images_then_classes() -> None:
    classes = per_class(table())
    assert list(classes.index) == ["b", "a"]
    assert classes["a"] == pytest.approx((2.0001 / 4.0001 + 0.0001 / 4.0001) / 2)
    assert mean_dice(table()) == pytest.approx(classes.mean())
    assert mean_iou(table()) == pytest.approx(((1 + 1) / 2 + (1.0001 / 3.0001 + 0.0001 / 4.0001) / 2) / 2)


def write_counts(path: Path, rows: str) -> Path:
    path.write_text(f"key,class,tp,fp,fn\n{rows}")
    return path


def test_a_table_of_counts_is_read_if_it_is_complete(tmp_path: Path) -> None:
    path = write_counts(tmp_path / "counts.csv", "p/1,a,1,2,3\np/1,b,0,0,0\n")
    assert read_counts(path, ["p/1"], ["b", "a"])[["tp", "fp", "fn"]].values.tolist() == [[1, 2, 3], [0, 0, 0]]


@pytest.mark.parametrize(
    ("rows", "code", "place"),
    [
        ("p/1,a,1,2,3\n", "table.rows", "p/1, b"),
        ("p/1,a,1,2,3\np/1,b,1,2,3\nq/1,a,1,2,3\n", "table.rows", "q/1, a"),
        ("p/1,a,1,2,3\np/1,b,1,2,3\np/1,b,1,2,3\n", "csv.repeated", "line 4"),
        ("p/1,a,1,2,3\np/1,b,1,-2,3\n", "counts.negative", "p/1, b"),
        ("p/1,a,1,2,3\np/1,b,1,,3\n", "csv.number", "line 3, column fp"),
        ("p/1,a,1,2,3\np/1,b,1,2\n", "csv.fields", "line 3"),
        ("", "table.rows", "p/1, a"),
    ],
)
def test_counts_that_are_incomplete_or_of_other_images_are_an_error(tmp_path: Path, fails: Fails, rows: str, code: str, place: str) -> None:
    with fails(code, place):
        read_counts(write_counts(tmp_path / "counts.csv", rows), ["p/1"], ["a", "b"])


def test_nested_counts_take_the_place_of_the_others() -> None:
    table = counts_table("A/1", ["a", "b"], np.array([[9, 0, 1], [5, 5, 5]])).assign(fold=0)
    assert not is_nested(table) and nested_counts(table) is table
    nested = table.assign(nested_tp=[7, 4], nested_fp=[2, 1], nested_fn=[3, 6])
    assert is_nested(nested) and not is_nested(nested.drop(columns="nested_fn"))
    expected = counts_table("A/1", ["a", "b"], np.array([[7, 2, 3], [4, 1, 6]])).assign(fold=0)
    pd.testing.assert_frame_equal(nested_counts(nested)[list(expected)], expected)
    assert not set(NESTED) & set(nested_counts(nested))


def test_a_nested_count_below_0_is_an_error(tmp_path: Path, fails: Fails) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("key,class,tp,fp,fn,nested_tp,nested_fp,nested_fn\na,b,1,2,3,1,-2,3\n")
    with fails("counts.negative", "a, b"):
        read_counts(path, ["a"], ["b"])
