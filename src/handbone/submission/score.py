"""A submission CSV against the truth of the test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from handbone.dataset.annotation import read_polygons
from handbone.dataset.layout import truth_file
from handbone.evaluation.dice import count, counts_table
from handbone.masks.rasterize import rasterize
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import TestImage, decode_image, encodings
from handbone.utils.errors import raise_if_any


def score_submission(path: Path, root: Path, images: Mapping[str, TestImage], classes: Sequence[str], allow_missing: bool) -> pd.DataFrame:
    """Decode the CSV and count it against <root>/test_truth -> rows of key, class, tp, fp, fn (pixels).

    Raises `UserError` for rows that are missing, repeated or unknown, for an invalid encoding, and for every fault in the truth's files.
    """
    encoded = encodings(path, [(name, label) for name, _, _ in images.values() for label in classes])
    tables, problems = [], []
    for key, image in images.items():
        _, height, width = image
        polygons, faults = read_polygons(truth_file(root, key), classes, (height, width), allow_missing)
        problems += faults
        if not faults:
            truth = RunLengthMasks.from_boxed(rasterize(polygons, (height, width)))
            tables.append(counts_table(key, classes, count(decode_image(path, encoded, image, classes), truth)))
    raise_if_any(problems, f"the truth in {root} cannot be used")
    return pd.concat(tables, ignore_index=True)
