"""The submission CSV: image_name,class,rle - images sorted by path, every class in order, an empty mask an empty field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from handbone.errors import UserError

COLUMNS = ["image_name", "class", "rle"]


def image_rows(image_name: str, classes: Sequence[str], encoded: Sequence[str]) -> pd.DataFrame:
    """C strings of one image -> its C rows."""
    return pd.DataFrame({"image_name": image_name, "class": list(classes), "rle": list(encoded)}, columns=COLUMNS)


def write_submission(rows: Sequence[pd.DataFrame], path: Path) -> None:
    """Write all images' rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(rows).to_csv(path, index=False, lineterminator="\n")


def read_submission(path: Path) -> pd.DataFrame:
    """The rows as text; an empty field is an empty string, not a missing value."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected a submission, found {error}; run dvc repro") from None
    if list(table.columns) != COLUMNS:
        raise UserError(f"{path}: expected the columns {','.join(COLUMNS)}; found {','.join(map(str, table.columns))}; write it again")
    return table
