"""The loss of all that a network gives: its logits, and whatever auxiliary outputs it has, each by its own weight."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from handbone.models.outputs import Auxiliary, Outputs
from handbone.training.distributed import weighted_mean
from handbone.training.losses import Criterion


def supervised(loss: Criterion) -> Callable[[Tensor | Outputs, Tensor, Tensor], Tensor]:
    """`loss` of logits, coverage and sample weights -> the same of whatever a network gives while training.

    A map is compared with the coverage as the logits are; a number a class with whether the class is in the image, all classes alike.
    """

    def weighted(auxiliary: Auxiliary, coverage: Tensor, weights: Tensor) -> Tensor:
        logits = auxiliary.logits.float().contiguous()
        if logits.dim() == 4:
            return auxiliary.weight * loss(logits, coverage, weights)
        present = (coverage.amax((2, 3)) > 0).float()
        entropies = functional.binary_cross_entropy_with_logits(logits, present, reduction="none")
        return auxiliary.weight * weighted_mean(entropies, weights).mean()

    def whole(found: Tensor | Outputs, coverage: Tensor, weights: Tensor) -> Tensor:
        outputs = found if isinstance(found, Outputs) else Outputs(found, ())
        main = loss(outputs.logits.float().contiguous(), coverage, weights)  # of one layout: mixed ones take half as long again
        return sum((weighted(auxiliary, coverage, weights) for auxiliary in outputs.auxiliary), start=main)

    return whole
