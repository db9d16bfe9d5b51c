"""Dice by attribute of the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from handbone.report.html import Cell, Json, Number, Section, note, table

LOWEST = 3  # classes that a row names
SUBSETS = {"held-out": "Validation", "test": "Test"}


@dataclass(frozen=True)
class AttributeRow:
    """One value of an attribute: images and mean Dice (0..1) by subset, `held-out` and `test`; the lowest classes of the last of these."""

    attribute: str
    value: str
    images: Mapping[str, int]
    dice: Mapping[str, float]
    lowest: str


def attributes_section(groups: pd.DataFrame, metrics: Json) -> Section | None:
    """groups: rows as of `attribute_rows`; metrics: reports/metrics.json, with the Dice under the test images' mix. None without a row."""
    rows = attribute_rows(groups)
    if not rows:
        return None
    subsets = [name for name in SUBSETS if any(name in row.dice for row in rows)]
    heads = ["Value", *(f"{SUBSETS[name]} {what}" for name in subsets for what in ("images", "Dice")), "Lowest classes"]
    cells: list[list[Cell]] = [
        [
            f"{row.attribute}: {row.value}",
            *(cell for name in subsets for cell in (Number(row.images.get(name, 0), ",.0f"), Number(row.dice.get(name)))),
            row.lowest,
        ]
        for row in rows
    ]
    return Section("Attributes", table(heads, cells, sortable=True) + _test_mix(metrics["dice"].get("test_mix", {})))


def _test_mix(mixes: Json) -> str:
    texts = [f"Validation Dice under the test images’ mix of {name}: {mix['mean']:.4f} ({_interval(mix)})." for name, mix in mixes.items()]
    return note(" ".join(texts)) if texts else ""


def _interval(mix: Json) -> str:
    return f"95 % interval {mix['low']:.4f} to {mix['high']:.4f}" if mix["low"] > 0 else "too few people for an interval"


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
