"""Two submissions compared: the Dice of their masks."""

from __future__ import annotations

import pandas as pd

from handbone.evaluation.dice import count, counts_table
from handbone.submission.alignment import AlignedSubmissions


def count_differences(submissions: AlignedSubmissions) -> pd.DataFrame:
    """The first of two submissions counted against the second -> rows of key (the image's name), class, tp, fp, fn (pixels).

    Raises `UserError` with every encoding that is invalid.
    """
    tables = []
    for image in submissions.images():
        one, other = image.masks
        tables.append(counts_table(image.name, image.classes, count(one, other)))
    return pd.concat(tables, ignore_index=True)
