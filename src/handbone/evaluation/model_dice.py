"""The score by which training picks the best epoch: a network's Dice on held-out images at full resolution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import nn

from handbone.cache.sample import read_masks
from handbone.config.params import Params
from handbone.evaluation.decision import Decision, decided_counts
from handbone.evaluation.dice import dice
from handbone.inference.checks import LogitCheck
from handbone.inference.predictor import InputSpec, from_model, predict
from handbone.inference.sliding_window import windowed
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.parallel import prefetch_map

THRESHOLD, ARGMAX = Decision(0.5), Decision(None)  # of the score that picks the best epoch; a new decide.threshold does not retrain


def one_view(params: Params, device: torch.device) -> dict[str, Any]:
    """How a training applies its network to held-out images, as arguments of `model_dice`: one view of each, without a clean-up."""
    train = params.train
    inputs = InputSpec(train.size, params.model.in_channels, train.images_per_batch, device, train.precision)
    return {"inputs": inputs, "window": train.crop, "decision": ARGMAX if params.data.exclusive else THRESHOLD}


def make_score(params: Params, accelerator: Accelerator) -> Callable[[nn.Module, Mapping[str, Path]], NDArray[np.float64]]:
    """A function from a model and the npz of each sample by key to the Dice (N, C) of one view, equal in all processes."""
    return partial(model_dice, **one_view(params, accelerator.device), rank=accelerator.process_index, world_size=accelerator.num_processes)


def model_dice(
    model: nn.Module,
    files: Mapping[str, Path],
    inputs: InputSpec,
    window: int | None,
    decision: Decision,
    rank: int = 0,
    world_size: int = 1,
) -> NDArray[np.float64]:
    """The Dice (N, C) of `model` for each image and class; the images are in no particular order.

    files: the npz of each sample by key; process `rank` of `world_size` predicts its part of them, and all return the same.
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
    return dice(np.stack(gather_object(counted)))
