"""A submission CSV against the truth of the test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from handbone.data.annotation import read_polygons
from handbone.data.layout import truth_file
from handbone.data.masks import BoxedMasks
from handbone.data.raster import paint
from handbone.errors import Problem, UserError, raise_if_any
from handbone.scoring.dice import count, counts_table
from handbone.submission.rle import decode
from handbone.submission.table import read_submission


def score_submission(path: Path, root: Path, images: Mapping[str, tuple[str, int, int]], classes: Sequence[str], allow_missing: bool) -> pd.DataFrame:
    """What stands in the CSV, decoded and counted against <root>/test_truth.

    images: for each key the image's name, height and width. -> rows of key, class, tp, fp, fn.
    Raises `UserError` for rows that are missing, doubled or unknown, and for every fault of the truth's files.
    """
    submission = read_submission(path)
    wanted = [(name, label) for name, _, _ in images.values() for label in classes]
    given = list(zip(submission["image_name"], submission["class"], strict=True))
    if sorted(given) != sorted(wanted):
        missing, unknown = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
        found = f"{len(given)} rows, {len(missing)} missing {missing[:2]}, {len(unknown)} unknown {unknown[:2]}"
        raise UserError(f"{path}: expected one row for each of {len(images)} images and {len(classes)} classes; found {found}; write it again")
    encoded = dict(zip(given, submission["rle"], strict=True))
    tables, problems = [], []
    for key, (name, height, width) in images.items():
        polygons, found_problems = read_polygons(truth_file(root, key), classes, (height, width), allow_missing)
        problems += found_problems
        if not found_problems:
            masks = np.stack([decode(encoded[name, label], height, width) for label in classes])
            tables.append(counts_table(key, classes, count(BoxedMasks.from_dense(masks), paint(polygons, (height, width)))))
    raise_if_any(problems, f"the truth below {root} cannot be used")
    return pd.concat(tables, ignore_index=True)
