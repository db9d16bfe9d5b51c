"""The CSV tables that stages hand on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

TEXT = {"key": str, "person": str, "class": str, "subset": str, "image_name": str, "sha256": str}


def read_table(path: Path) -> pd.DataFrame:
    """The table with names as text: a person called 007 keeps the zeros, a class called NA is not a missing value."""
    return pd.read_csv(path, dtype=TEXT, keep_default_na=False, na_values={"dice": [""]})


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write the table without an index column, making the folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
