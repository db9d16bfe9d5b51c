"""Exponential moving average of a model's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


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
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs.to(mine.dtype), 1 - decay)
            else:
                mine.copy_(theirs)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights."""
        return self.model.state_dict()
