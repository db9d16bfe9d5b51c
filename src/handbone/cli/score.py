"""`handbone score`: the score of submissions/submission.csv, if the truth of the test images is known."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from handbone.cli.document import print_document
from handbone.config import paths
from handbone.config.params import load_params
from handbone.dataset.layout import TRUTH, has_truth
from handbone.dataset.listing import PLACE
from handbone.evaluation.dice import mean_dice, mean_pooled_iou, per_class, pooled_iou
from handbone.submission.csv import TestImage, test_images
from handbone.submission.score import score_if_known
from handbone.utils.errors import Problem, UserError, all_of, require_file

HELD_OUT = f"the held-out Dice in {paths.METRICS} is the only score"


def print_score(as_json: bool = False) -> None:
    """Print the Dice of each class and their mean, from the submission as written and the polygons of the test images.

    For exclusive classes also the IoU over all pixels of the set, and its mean.
    Raises `UserError` as `scored_images` does.
    """
    params = load_params()
    data, images = params.data, scored_images(Path(params.data.root))
    counts = score_if_known(paths.SUBMISSION, images, params)
    scores = pd.DataFrame({"Dice": per_class(counts)} | ({"IoU": pooled_iou(counts)} if data.exclusive else {}))
    if as_json:
        by_class = {name: row.dropna().to_dict() for name, row in scores.rename(columns=str.lower).iterrows()}
        document = {"dice": mean_dice(counts)} | ({"miou": mean_pooled_iou(counts)} if data.exclusive else {})
        print_document(document | {"n_images": counts["key"].nunique(), "classes": by_class})
        return
    for name, row in scores.iterrows():
        print(f"{name:>16}  " + "  ".join("     -" if pd.isna(score) else f"{score:.4f}" for score in row))
    miou = f", mIoU {mean_pooled_iou(counts):.4f}" if data.exclusive else ""
    over = f"{len(data.classes)} classes and {counts['key'].nunique()} images"
    print(f"test score of {paths.SUBMISSION}: mean Dice {mean_dice(counts):.4f}{miou} over {over}")


def scored_images(root: Path) -> dict[str, TestImage]:
    """The test images, whose truth is known.

    Raises `UserError` for what stops the score: stages that have not run, no data set, no test set, or no truth of it.
    """
    all_of("there is nothing to score yet", partial(require_file, paths.TEST_INDEX), partial(require_file, paths.SUBMISSION))
    if not root.is_dir():
        raise UserError(Problem("layout.missing", str(root), "the data set", "no such folder", PLACE))
    if not (images := test_images(paths.TEST_INDEX)):
        raise UserError(Problem("score.no_test_set", str(root), "test images", "none", HELD_OUT))
    if not has_truth(root):
        fix = f"the competition alone can score this submission; {HELD_OUT} here"
        raise UserError(Problem("score.truth", str(root / TRUTH), "the truth of the test images", "none", fix))
    return images
