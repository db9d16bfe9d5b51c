"""The table of Dice by attribute as rows of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

LOWEST = 3  # classes that a row names


@dataclass(frozen=True)
class AttributeRow:
    """One value of an attribute: images and mean Dice (0..1) by subset, `held-out` and `test`; the lowest classes of the last of these."""

    attribute: str
    value: str
    images: Mapping[str, int]
    dice: Mapping[str, float]
    lowest: str


def attribute_rows(groups: pd.DataFrame) -> list[AttributeRow]:
    """Rows of subset, attribute, value, class, images, dice -> one row per value, by attribute."""
    values = groups.sort_values(["attribute", "value"], kind="stable").groupby(["attribute", "value"], sort=False)
    return [_row(str(attribute), str(value), rows) for (attribute, value), rows in values]


def _row(attribute: str, value: str, rows: pd.DataFrame) -> AttributeRow:
    subsets = {str(subset): of_subset for subset, of_subset in rows.groupby("subset")}  # held-out before test
    images = {name: int(of_subset["images"].max()) for name, of_subset in subsets.items()}
    dice = {name: float(of_subset["dice"].mean()) for name, of_subset in subsets.items()}
    lowest = list(subsets.values())[-1].nsmallest(LOWEST, "dice")
    text = ", ".join(f"{name} {mean:.3f}" for name, mean in zip(lowest["class"], lowest["dice"], strict=True))
    return AttributeRow(attribute, value, images, dice, text)
