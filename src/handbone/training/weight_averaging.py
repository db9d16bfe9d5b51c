"""Averages of a model's weights during training: the averaged model is the one that is validated and kept."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """Exponential moving average of a model's weights, in a copy of the model that is in eval mode and not trained.

    decay: null keeps the copy equal to the model. Early on the average follows faster, with a decay of at most (1 + n) / (10 + n) after
    n steps, so that the random start is forgotten (as in TensorFlow's ExponentialMovingAverage).
    Batch-norm statistics are averaged like weights; counters are copied.
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.steps = 0
        self._decay = 0.0 if decay is None else decay

    def update(self, model: nn.Module) -> None:
        """Move the average towards the current weights of `model`."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        lerp_state(self.model, model, 1 - decay)


class Swa:
    """Mean of the weights at the end of several epochs (Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
    Generalization", UAI 2018). Batch-norm statistics are averaged too, instead of a further pass over the data that recomputes them.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.count = 0

    def update(self, model: nn.Module) -> None:
        """Add the current weights of `model` to the mean."""
        self.count += 1
        lerp_state(self.model, model, 1 / self.count)


@torch.no_grad()
def lerp_state(average: nn.Module, model: nn.Module, weight: float) -> None:
    """average + weight * (model - average), in place, for every floating-point tensor of the state; counters are copied."""
    for averaged, current in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if averaged.dtype.is_floating_point:
            averaged.lerp_(current.to(averaged.dtype), weight)
        else:
            averaged.copy_(current)
