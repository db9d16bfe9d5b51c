"""Tables and counts of a whole data set."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import pandas as pd

from handbone.dataset.whole_set import SampleFacts
from handbone.masks.rasterize import RASTERIZER
from handbone.utils.errors import Problem


def areas_table(facts: Sequence[SampleFacts], classes: Sequence[str]) -> pd.DataFrame:
    """The area of every mask in pixels, and its centre as shares of width and height; one row per sample and class."""
    areas = [
        (fact.key, name, pixels, x, y)
        for fact in facts
        if fact.areas
        for name, pixels, (x, y) in zip(classes, fact.areas, fact.centres, strict=True)
    ]
    return pd.DataFrame(areas, columns=["key", "class", "pixels", "x", "y"])


def polygon_summary(points: Sequence[Sequence[Sequence[int]]], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Points of each polygon, by sample and class -> by class that has one: polygons; the least, median and most points.

    A mask in place of a polygon counts as the outlines that it is painted from.
    """
    by_class = {name: [count for sample in points if sample for count in sample[index]] for index, name in enumerate(classes)}
    return {
        name: {"polygons": len(counts), "min": min(counts), "median": float(median(counts)), "max": max(counts)}
        for name, counts in by_class.items()
        if counts
    }


def summarise(index: pd.DataFrame, areas: pd.DataFrame, excluded: Sequence[str], warnings: Sequence[Problem]) -> dict[str, Any]:
    """Counts and sizes of the data set, and what may be wrong with it, for people to read."""
    seen = areas[areas["pixels"] > 0].groupby("class", sort=False)["pixels"]
    subsets = {str(name): {"images": len(rows), "people": int(rows["person"].nunique())} for name, rows in index.groupby("subset")}
    sizes = index["width"].astype(str) + "x" + index["height"].astype(str)
    return {
        **subsets,
        "sizes": {str(size): int(count) for size, count in sizes.value_counts().items()},
        "classes": {str(name): {"images": len(pixels), "mean_area_px": round(float(pixels.mean()), 1)} for name, pixels in seen},
        "rasterizer": RASTERIZER,
        "excluded": list(excluded),
        "warnings": [str(problem) for problem in warnings],
    }
