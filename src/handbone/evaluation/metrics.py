"""reports/metrics.json from tables of counts."""

from __future__ import annotations

from typing import Any

import pandas as pd

from handbone.evaluation.dice import mean_dice, per_class


def summarise(validation: pd.DataFrame, test: pd.DataFrame) -> dict[str, Any]:
    """Counts of the held-out images (with their fold) and of the test set (empty: truth unknown) -> the nested metrics.

    Figures that do not exist are left out: NaN would show as changed in every `dvc metrics diff`.
    """
    folds = {str(fold): mean_dice(rows) for fold, rows in validation.groupby("fold")}
    metrics = _dice(validation) | {"n_folds": len(folds)}
    metrics["dice"]["fold"] = folds
    return metrics | ({"test": _dice(test)} if len(test) else {})


def _dice(table: pd.DataFrame) -> dict[str, Any]:
    classes = {str(name): float(value) for name, value in per_class(table).items()}
    return {"dice": {"mean": mean_dice(table), "class": classes}, "n_images": int(table["key"].nunique())}
