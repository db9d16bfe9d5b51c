"""Attributes of images, such as those of their people: what folds are balanced by, and what scores are compared by."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from handbone.utils.io import ATTRIBUTE
from handbone.utils.names import composed

MAX_VALUES = 6  # of an attribute that tables and scores are split by: an age would give one row per year


def person_attributes(index: pd.DataFrame) -> pd.DataFrame:
    """An index of the cache -> one row per image, by key, and one column per attribute of people.csv; values are text, empty: unknown."""
    columns = {name: composed(name.removeprefix(ATTRIBUTE)) for name in index.columns if name.startswith(ATTRIBUTE)}
    return index.set_index("key")[list(columns)].rename(columns=columns).map(composed)


def with_few_values(*tables: pd.DataFrame) -> list[str]:
    """The attributes of all tables that have two to `MAX_VALUES` known values in these together."""
    names = [str(name) for name in tables[0] if all(name in table for table in tables)]
    counts = {name: len(set().union(*(table[name] for table in tables)) - {""}) for name in names}
    return [name for name, count in counts.items() if 2 <= count <= MAX_VALUES]


def images_by_value(attributes: pd.DataFrame, names: Sequence[str]) -> dict[str, set[str]]:
    """The keys of the images of each known value, e.g. of `wrist=bent`."""
    groups = ((name, value, rows.index) for name in names for value, rows in attributes.groupby(name) if value)
    return {f"{name}={value!s}": set(keys) for name, value, keys in groups}
