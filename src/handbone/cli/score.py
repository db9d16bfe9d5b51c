"""`handbone score`: the score of submissions/submission.csv, if the truth of the test images is known."""

from __future__ import annotations

from pathlib import Path

from handbone.config import paths
from handbone.config.params import load_params
from handbone.dataset.layout import has_truth
from handbone.evaluation.dice import mean_dice, per_class
from handbone.submission.csv import test_images
from handbone.submission.score import score_submission
from handbone.utils.errors import Problem, UserError


def print_score() -> None:
    """Print the Dice of each class and their mean, from the submission as written and the polygons of the test images.

    Raises `UserError` if the data set has no truth of the test images.
    """
    params = load_params()
    data = params.data
    root = Path(data.root)
    if not has_truth(root):
        fix = "the competition alone can score this submission"
        raise UserError(Problem("score.truth", str(root / "test_truth"), "the truth of the test images", "none", fix))
    counts = score_submission(paths.SUBMISSION, root, test_images(paths.TEST_INDEX), data.classes, data.allow_missing, params.submission)
    for name, dice in per_class(counts).items():
        print(f"{name:>16}  {dice:.4f}")
    over = f"{len(data.classes)} classes and {counts['key'].nunique()} images"
    print(f"test score of {paths.SUBMISSION}: mean Dice {mean_dice(counts):.4f} over {over}")
