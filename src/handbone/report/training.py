"""The trainings: the curve of each fold, and beside it what its network scores in the end."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from handbone.report.charts import chart, curves_svg
from handbone.report.html import Cell, Number, Section, columns, note, table
from handbone.report.scores import Scores

FINAL = (
    "Dice: the network that was kept, applied as for the submission, with all views of params.infer and the decision, to the fold’s "
    "held-out images. In training: the best score of the curve, by which the epoch was chosen: one view of each image and threshold "
    "0.5, so it is usually a little lower."
)


def folds_section(scores: Scores, curves: Mapping[int, pd.DataFrame]) -> Section:
    """curves: fold -> epoch, lr, loss, dice of the training."""
    rows = [_row(scores, fold, curves[fold]) for fold in sorted(curves)]
    picture = chart(partial(curves_svg, curves), "Training loss and Dice by epoch, one line per fold", narrow=True)
    return Section("Folds", columns("narrow-wide", table(["Fold", "Images", "Dice", "In training"], rows), picture) + note(FINAL))


def _row(scores: Scores, fold: int, curve: pd.DataFrame) -> list[Cell]:
    held = np.array(scores.folds) == fold
    final = float(scores.dice[held].mean()) if held.any() else None
    return [str(fold), Number(int(held.sum()), ",.0f"), Number(final), Number(float(curve["dice"].max()))]
