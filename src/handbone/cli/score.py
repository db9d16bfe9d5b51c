"""`handbone score`: the score of submissions/submission.csv, if the truth of the test images is known."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from handbone.config import paths
from handbone.config.params import load_params
from handbone.dataset.layout import has_truth
from handbone.evaluation.dice import mean_dice, mean_pooled_iou, per_class, pooled_iou
from handbone.submission.csv import test_images
from handbone.submission.score import score_if_known
from handbone.utils.errors import Problem, UserError


def print_score() -> None:
    """Print the Dice of each class and their mean, from the submission as written and the polygons of the test images.

    For exclusive classes also the IoU over all pixels of the set, and its mean.

    Raises `UserError` if the data set has no truth of the test images.
    """
    params = load_params()
    data = params.data
    root = Path(data.root)
    if not has_truth(root):
        fix = "the competition alone can score this submission"
        raise UserError(Problem("score.truth", str(root / "test_truth"), "the truth of the test images", "none", fix))
    counts = score_if_known(paths.SUBMISSION, test_images(paths.TEST_INDEX), params)
    scores = pd.DataFrame({"Dice": per_class(counts)} | ({"IoU": pooled_iou(counts)} if data.exclusive else {}))
    for name, row in scores.iterrows():
        print(f"{name:>16}  " + "  ".join("     -" if pd.isna(score) else f"{score:.4f}" for score in row))
    miou = f", mIoU {mean_pooled_iou(counts):.4f}" if data.exclusive else ""
    over = f"{len(data.classes)} classes and {counts['key'].nunique()} images"
    print(f"test score of {paths.SUBMISSION}: mean Dice {mean_dice(counts):.4f}{miou} over {over}")
