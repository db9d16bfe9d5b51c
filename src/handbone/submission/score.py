"""A submission CSV against the truth of the test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from handbone.config.params import Params, SubmissionParams
from handbone.dataset.annotation import read_polygons
from handbone.dataset.layout import has_truth, truth_file
from handbone.evaluation.dice import COUNTS, count, counts_table
from handbone.masks.rasterize import rasterize
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import COMPETITION, TestImage, submitted_masks
from handbone.utils.errors import all_of, raise_if_any


def score_if_known(path: Path, images: Mapping[str, TestImage], params: Params) -> pd.DataFrame:
    """The counts of `score_submission` if the data set has the truth of the test images; no row if it has not."""
    data = params.data
    if not has_truth(root := Path(data.root)):
        return pd.DataFrame(columns=["key", "class", *COUNTS])
    return score_submission(path, root, images, data.classes, data.allow_missing, params.submission, data.exclusive)


def score_submission(
    path: Path,
    root: Path,
    images: Mapping[str, TestImage],
    classes: Sequence[str],
    allow_missing: bool,
    form: SubmissionParams = COMPETITION,
    exclusive: bool = False,
) -> pd.DataFrame:
    """Decode the CSV and count it against <root>/test_truth -> rows of key, class, tp, fp, fn (pixels).

    exclusive: classes exclude each other, and what is submitted for pixels that have none is not counted.
    Raises `UserError` with every fault of the submission (as `submitted_masks` does) and of the truth's files.
    """
    title = f"{path} cannot be scored with the truth in {root}"
    read_truth = partial(true_masks, root, images, classes, allow_missing, exclusive)
    submitted, truth = all_of(title, partial(submitted_masks, path, images, classes, form), read_truth)
    tables = [counts_table(key, classes, count(submitted[key], truth[key], exclusive)) for key in images]
    return pd.concat(tables, ignore_index=True)


def true_masks(
    root: Path, images: Mapping[str, TestImage], classes: Sequence[str], allow_missing: bool, exclusive: bool = False
) -> dict[str, RunLengthMasks]:
    """The C true masks of each test image by key, from <root>/test_truth. Raises `UserError` with every fault of its files.

    exclusive: where they overlap, the last class is kept, as preprocess does.
    """
    masks, problems = {}, []
    for key, (_, height, width) in images.items():
        polygons, faults = read_polygons(truth_file(root, key), classes, (height, width), allow_missing)
        problems += faults
        if not faults:
            painted = rasterize(polygons, (height, width))
            masks[key] = RunLengthMasks.from_boxed(painted.disjoint() if exclusive else painted)
    raise_if_any(problems, f"the truth in {root} cannot be used")
    return masks
