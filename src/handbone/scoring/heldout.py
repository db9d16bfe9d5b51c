"""Predictions for training images against their cached truth, at full resolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbone.data.cache import read_masks
from handbone.data.runs import Runs
from handbone.inference.probabilities import Probabilities
from handbone.inference.upsample import full_masks
from handbone.scoring.dice import count


def heldout_counts(file: Path, probabilities: Probabilities, threshold: float) -> NDArray[np.int64]:
    """The cached sample's truth and its predicted probabilities -> (C, 3) counts of tp, fp, fn."""
    truth = read_masks(file)
    if truth is None:
        raise ValueError(f"{file} has no masks")
    return count(full_masks(probabilities, truth.shape, threshold), Runs.from_packed(truth))
