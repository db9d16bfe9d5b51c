"""The loss of everything that a network returns: its logits, and its auxiliary outputs with their weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from handbone.models.outputs import Auxiliary, Outputs
from handbone.training.distributed import weighted_mean
from handbone.training.losses import Criterion


class DeepSupervisionLoss:
    """A criterion applied to the logits of a network and to each of its auxiliary outputs."""

    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion

    def __call__(self, outputs: Tensor | Outputs, coverage: Tensor, weights: Tensor) -> Tensor:
        """Logits (N, C, H, W) or `Outputs`, coverage (N, C, H, W) in 0..1, weights (N,) of the samples -> a scalar."""
        outputs = outputs if isinstance(outputs, Outputs) else Outputs(outputs, ())
        main = self.criterion(_plain(outputs.logits), coverage, weights)
        return sum((self._auxiliary(auxiliary, coverage, weights) for auxiliary in outputs.auxiliary), start=main)

    def _auxiliary(self, auxiliary: Auxiliary, coverage: Tensor, weights: Tensor) -> Tensor:
        """Maps (N, C, H, W) are compared with the coverage, like the logits; scores (N, C) with the presence of each class in the image.

        Presence counts every class alike: class weights apply to maps only.
        """
        logits = _plain(auxiliary.logits)
        if logits.dim() == 4:
            return auxiliary.weight * self.criterion(logits, coverage, weights)
        present = (coverage.amax((2, 3)) > 0).float()
        bce = functional.binary_cross_entropy_with_logits(logits, present, reduction="none")
        return auxiliary.weight * weighted_mean(bce, weights).mean()


def _plain(logits: Tensor) -> Tensor:
    """float32 with contiguous planes, in at most one copy: losses of mixed layouts are slower by half."""
    return logits.to(torch.float32, memory_format=torch.contiguous_format)
