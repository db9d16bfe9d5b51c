"""The document of reports/metrics.json, from tables of counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from handbone.evaluation.attributes import MixedDice
from handbone.evaluation.dice import is_nested, mean_dice, mean_iou, mean_pooled_iou, nested_counts
from handbone.evaluation.surface_distances import mean_hd95


def summarise(validation: pd.DataFrame, test: pd.DataFrame, mixes: Mapping[str, MixedDice], exclusive: bool = False) -> dict[str, Any]:
    """Counts of the held-out images (with a column fold) and of the test set (no row: truth unknown) -> the nested metrics, Dice 0..1.

    mixes: the held-out Dice under the test images' mix of each attribute.
    exclusive: classes exclude each other; then also miou, over all pixels of the images, as the field scores such sets.
    iou: the mean as that of Dice. hd95: as well, in pixels; of held-out images, whose table has distances.
    Metrics that do not exist are left out: `dvc metrics diff` would show NaN as changed every time.
    dice.nested exists if the decision was searched on the held-out people, by whom the other values are then a little too high.
    DVC lists metrics by the alphabet and in one line, so that the score comes first and classes and attributes are tables instead.
    """
    folds = {str(fold): mean_dice(rows) for fold, rows in validation.groupby("fold")}
    metrics = _scores(validation, exclusive) | {"n_folds": len(folds)}
    metrics["dice"] |= {"nested": mean_dice(nested_counts(validation))} if is_nested(validation) else {}
    metrics["dice"]["per_fold"] = folds
    metrics["dice"] |= {"test_mix": {name: asdict(mix) for name, mix in mixes.items()}} if mixes else {}
    metrics |= {"hd95": hd95} if (hd95 := mean_hd95(validation)) is not None else {}
    return metrics | ({"test": _scores(test, exclusive)} if len(test) else {})


def _scores(table: pd.DataFrame, exclusive: bool) -> dict[str, Any]:
    scores = {"dice": {"mean": mean_dice(table)}, "iou": mean_iou(table), "n_images": int(table["key"].nunique())}
    return scores | ({"miou": mean_pooled_iou(table)} if exclusive else {})
