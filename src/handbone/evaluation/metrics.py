"""The document of reports/metrics.json, from tables of counts."""

from __future__ import annotations

from typing import Any

import pandas as pd

from handbone.evaluation.dice import is_nested, mean_dice, nested_counts, per_class


def summarise(validation: pd.DataFrame, test: pd.DataFrame) -> dict[str, Any]:
    """Counts of the held-out images (with a column fold) and of the test set (no row: truth unknown) -> the nested metrics, Dice 0..1.

    Metrics that do not exist are left out: `dvc metrics diff` would show NaN as changed every time.
    dice.nested exists if the decision was searched on the held-out people, by whom the other values are then a little too high.
    """
    folds = {str(fold): mean_dice(rows) for fold, rows in validation.groupby("fold")}
    metrics = _dice(validation) | {"n_folds": len(folds)}
    metrics["dice"]["fold"] = folds
    metrics["dice"] |= {"nested": mean_dice(nested_counts(validation))} if is_nested(validation) else {}
    return metrics | ({"test": _dice(test)} if len(test) else {})


def _dice(table: pd.DataFrame) -> dict[str, Any]:
    classes = {str(name): float(value) for name, value in per_class(table).items()}
    return {"dice": {"mean": mean_dice(table), "class": classes}, "n_images": int(table["key"].nunique())}
