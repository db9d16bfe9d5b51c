"""The score that training watches: a network's Dice on held-out images, at full resolution."""

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
from handbone.inference.predictor import InputSpec, from_model, predict
from handbone.inference.sliding_window import windowed
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.parallel import prefetch_map


def model_dice(model: nn.Module, files: Mapping[str, Path], inputs: InputSpec, window: int | None, decision: Decision) -> float:
    """The mean Dice of `model` on the cached samples `files` of all processes, each of which passes its share.

    window: side in pixels of the windows through which the model sees an image, half a window apart; null: whole images.
    """
    predictor = from_model(windowed(model, window, window // 2) if window else model)

    def counts(found: tuple[str, CroppedMaps]) -> NDArray[np.int64]:
        key, maps = found
        return decided_counts(maps, read_masks(files[key]), decision)

    share = list(prefetch_map(counts, predict(predictor, files, inputs))) if files else []
    return float(dice(np.stack(gather_object(share))).mean())
