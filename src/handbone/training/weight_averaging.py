"""Averages of a model's weights over its training: what is validated and kept."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """A copy of the model that follows it; `decay` 0 follows at once.

    Early on the average follows faster, (1 + n) / (10 + n) after n steps, so that the random start is forgotten (as in TensorFlow's
    ExponentialMovingAverage). Batch-norm statistics are averaged like weights; counters are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the model's present weights."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        move(self.model, model, 1 - decay)


class Swa:
    """The mean of the weights that a model had at the end of each of several epochs (Izmailov et al., "Averaging Weights Leads to Wider
    Optima and Better Generalization", UAI 2018). Batch-norm statistics are averaged too, rather than computed anew in another pass.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.count = 0

    def update(self, model: nn.Module) -> None:
        """One more model."""
        self.count += 1
        move(self.model, model, 1 / self.count)


@torch.no_grad()
def move(average: nn.Module, model: nn.Module, share: float) -> None:
    """Take `average` that share of the way to `model`; counters are copied."""
    for mine, theirs in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mine.dtype.is_floating_point:
            mine.lerp_(theirs.to(mine.dtype), share)
        else:
            mine.copy_(theirs)
