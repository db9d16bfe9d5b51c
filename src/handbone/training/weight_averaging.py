"""Averages of a model's weights during training: the averaged model is the one that is validated and kept."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of a model's weights, in a copy of the model that is in eval mode and not trained.

    decay: null keeps the copy equal to the model. Early on the average follows faster, with a decay of at most (1 + n) / (10 + n) after
    n steps, so that the random start is forgotten (as in TensorFlow's ExponentialMovingAverage).
    Batch-norm statistics are averaged like weights; counters are copied.
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self.model = _frozen_copy(model)
        self.steps = 0
        self._decay = 0.0 if decay is None else decay
        self._tensors = _TensorPairs(self.model, model)

    def update(self) -> None:
        """Move the average towards the current weights of the model."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        self._tensors.lerp(1 - decay)


class Swa:
    """Mean of the weights at the end of several epochs (Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
    Generalization", UAI 2018). Batch-norm statistics are averaged too, instead of a further pass over the data that recomputes them.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = _frozen_copy(model)
        self.count = 0
        self._tensors = _TensorPairs(self.model, model)

    def update(self) -> None:
        """Add the current weights of the model to the mean."""
        self.count += 1
        self._tensors.lerp(1 / self.count)


def _frozen_copy(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).eval().requires_grad_(False)


class _TensorPairs:
    """The tensors of an average and those of its model, found once: a walk over the modules costs more time than the arithmetic.

    Both models must be on their device and wrapped for several processes already, and change their tensors in place, as optimisers, norms
    and `load_state_dict` do.
    """

    def __init__(self, average: nn.Module, model: nn.Module) -> None:
        pairs = list(zip(average.state_dict().values(), model.state_dict().values(), strict=True))
        self._floats = [pair for pair in pairs if pair[0].dtype.is_floating_point]
        self._counters = [pair for pair in pairs if not pair[0].dtype.is_floating_point]

    @torch.no_grad()
    def lerp(self, weight: float) -> None:
        """average + weight * (model - average), in place, for every floating-point tensor; counters are copied."""
        if self._floats:
            torch._foreach_lerp_(*_columns(self._floats), weight)
        if self._counters:
            torch._foreach_copy_(*_columns(self._counters))


def _columns(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [average for average, _ in pairs], [current for _, current in pairs]
