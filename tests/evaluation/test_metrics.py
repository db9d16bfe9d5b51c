"""The document of reports/metrics.json."""

from __future__ import annotations

import numpy as np
import pandas as pd

from handbone.evaluation.attributes import MixedDice
from handbone.evaluation.dice import counts_table, mean_dice, mean_iou, mean_pooled_iou
from handbone.evaluation.metrics import summarise

NESTED = {"nested_tp": 1, "nested_fp": 2, "nested_fn": 3}
COUNTS = np.array([[1, 0, 0], [1, 1, 1]])
HELD_OUT = pd.concat([counts_table("p/1", ["b", "a"], COUNTS).assign(fold=0), counts_table("q/1", ["b", "a"], COUNTS).assign(fold=2)])
TEST = counts_table("r/1", ["b", "a"], COUNTS + 1)


def names(metrics: dict) -> list[str]:
    return sorted(pd.json_normalize(metrics).columns)  # DVC sorts them


def test_the_names_are_fixed_and_few_and_the_score_comes_first() -> None:
    metrics = summarise(HELD_OUT, TEST, {})
    held_out, test = ["dice.mean", "dice.per_fold.0", "dice.per_fold.2", "iou", "n_folds", "n_images"], ["dice.mean", "iou", "n_images"]
    assert names(metrics) == held_out + [f"test.{name}" for name in test]
    assert metrics["dice"]["mean"] == mean_dice(HELD_OUT) and metrics["test"]["dice"]["mean"] == mean_dice(TEST)
    assert metrics["iou"] == mean_iou(HELD_OUT) and summarise(HELD_OUT.assign(hd95=3.0), TEST, {})["hd95"] == 3
    assert metrics["n_images"] == metrics["n_folds"] == 2 and metrics["test"]["n_images"] == 1


def test_the_score_comes_first_beside_everything_that_may_be_there() -> None:
    metrics = summarise(HELD_OUT.assign(**NESTED), TEST, {"age": MixedDice(0.7, 0.6, 0.8)})
    assert names(metrics)[:2] == ["dice.mean", "dice.nested"] and metrics["dice"]["nested"] != metrics["dice"]["mean"]
    assert metrics["dice"]["test_mix"] == {"age": {"mean": 0.7, "low": 0.6, "high": 0.8}}


def test_exclusive_classes_have_the_iou_over_all_pixels_as_well() -> None:
    metrics = summarise(HELD_OUT, TEST, {}, exclusive=True)
    assert metrics["miou"] == mean_pooled_iou(HELD_OUT) and metrics["test"]["miou"] == mean_pooled_iou(TEST)


def test_without_the_truth_there_are_no_test_scores() -> None:
    assert "test" not in summarise(HELD_OUT, TEST[:0], {})
