"""The CSV tables that stages hand on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from handbone.errors import made

TEXT = {"key": str, "person": str, "class": str, "image_name": str, "sha256": str}
ATTRIBUTE = "person_"  # what a person's attributes are called in the index, before their names


def read_table(path: Path) -> pd.DataFrame:
    """The table with names and people's attributes as text: a person called 007 keeps the zeros, a class called NA is no missing value."""
    attributes = {name: str for name in pd.read_csv(made(path), nrows=0).columns if name.startswith(ATTRIBUTE)}
    return pd.read_csv(path, dtype=TEXT | attributes, keep_default_na=False, na_values={"dice": [""]})


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write the table without an index column, making the folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a link into DVC's cache, which would be written through
    table.to_csv(path, index=False)
