"""The score by which training picks the best epoch: a network's Dice on held-out images at full resolution."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import nn

from handbone.cache.sample import read_masks
from handbone.evaluation.decision import Decision, decided_counts
from handbone.evaluation.dice import dice
from handbone.inference.checks import LogitCheck
from handbone.inference.predictor import InputSpec, from_model, predict
from handbone.inference.sliding_window import windowed
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.parallel import prefetch_map


def model_dice(
    model: nn.Module,
    files: Mapping[str, Path],
    inputs: InputSpec,
    window: int | None,
    decision: Decision,
    rank: int = 0,
    world_size: int = 1,
) -> float:
    """The mean Dice of `model` over images and classes.

    files: the npz of each sample by key; process `rank` of `world_size` predicts its part of them, and all return the same mean.
    window: side in pixels of the windows through which the model sees an image, half a window apart; null: whole images.
    """
    check = LogitCheck()
    watched = check.watch("the network in training", model)
    predictor = from_model(watched if window is None else windowed(watched, window, window // 2), decision.exclusive)

    def counts(predicted: tuple[str, CroppedMaps]) -> NDArray[np.int64]:
        key, maps = predicted
        return decided_counts([maps], read_masks(files[key]), decision)

    part = dict(list(files.items())[rank::world_size])
    counted = list(prefetch_map(counts, predict(predictor, part, inputs, check=check))) if part else []
    return float(dice(np.stack(gather_object(counted))).mean())
