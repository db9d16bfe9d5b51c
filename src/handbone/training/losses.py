"""Losses for coverage targets, by name and weight. Each takes logits and coverage (N, C, H, W), coverage in 0..1, and gives a scalar."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn import functional

from handbone.errors import Problem, nearest, raise_if_any

Loss = Callable[[Tensor, Tensor], Tensor]


def bce(logits: Tensor, coverage: Tensor) -> Tensor:
    """Binary cross entropy; for a soft target its optimum is p = coverage."""
    return functional.binary_cross_entropy_with_logits(logits, coverage)


def dice(logits: Tensor, coverage: Tensor) -> Tensor:
    """1 - 2·sum(p·y) / (sum(p²) + sum(y²)) a class over the batch, then the mean (Milletari et al., V-Net, 2016).

    The squares matter: with plain sums the optimum for a soft target is not p = y but p in {0, 1}.
    One pixel is added to both sides of the fraction, so that a class absent from the batch costs only what is predicted of it.
    """
    probs = logits.sigmoid()
    over = (0, 2, 3)
    shared = (probs * coverage).sum(over)
    return 1 - ((2 * shared + 1) / (probs.square().sum(over) + coverage.square().sum(over) + 1)).mean()


LOSSES: dict[str, Loss] = {"bce": bce, "dice": dice}


def combined(weights: Mapping[str, float]) -> Loss:
    """The weighted sum of the named losses; a `UserError` lists names that are none."""
    unknown = [name for name in weights if name not in LOSSES]
    problems = [Problem("params.yaml: train.loss", "a known loss", repr(name), nearest(name, list(LOSSES))) for name in unknown]
    raise_if_any(problems, "train.loss cannot be used")

    def loss(logits: Tensor, coverage: Tensor) -> Tensor:
        return sum((weight * LOSSES[name](logits, coverage) for name, weight in weights.items()), start=logits.new_zeros(()))

    return loss
