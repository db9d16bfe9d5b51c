"""Pictures of a few held-out images with truth and prediction, to watch a network learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from handbone.cache.resize import UInt8Image
from handbone.cache.sample import read_image, read_masks
from handbone.evaluation.decision import Decision, decide
from handbone.evaluation.overlay import overlay
from handbone.inference.predictor import InputSpec, from_model, predict
from handbone.inference.sliding_window import windowed

COUNT = 4  # images
LONGEST = 768  # pixels of a picture's longer side


def held_out_pictures(
    model: nn.Module, files: Mapping[str, Path], classes: Sequence[str], inputs: InputSpec, window: int | None, decision: Decision
) -> dict[str, UInt8Image]:
    """Pictures (h, w, 3) RGB by key of at most `COUNT` images, always the same of `files`, as of `overlay`.

    classes: names of the C masks. The other arguments are those of `model_dice`, which says more.
    """
    keys = sorted(files)
    chosen = {keys[index]: files[keys[index]] for index in np.linspace(0, len(keys) - 1, min(COUNT, len(keys))).round().astype(int)}
    predictor = from_model(model if window is None else windowed(model, window, window // 2), decision.exclusive)
    pictures = {}
    for key, maps in predict(predictor, chosen, inputs):
        image, shape = read_image(chosen[key])
        predicted = decide([maps], shape, decision).boxed()
        pictures[key] = overlay(image, read_masks(chosen[key]).unpack(), predicted, classes, LONGEST)
    return pictures
