"""What a training step costs on a card that is not at hand, by its operations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from handbone.config.params import Params
from handbone.models.wrapper import SegmentationModel
from handbone.planning.cards import Card
from handbone.planning.count import count
from handbone.training.estimate import CONTEXT, state_bytes
from handbone.training.trial import Trial, forward_backward
from handbone.utils.errors import Problem, UserError

IMAGES = 2  # in the batch that is counted; one image would be a special case for batch norm
# Of `gpu24` on one H100 (docs/performance.md): reserved against allocated memory; the time of the kernels against that of a card that
# reaches its peaks; the host's time to launch the kernels of one operation, forward and backward pass, optimiser and average included.
RESERVED, SLOWNESS, LAUNCH = 1.08, 3.3, 85e-6


@dataclass(frozen=True)
class StepCost:
    """A training step of `IMAGES` square images.

    flops, moved: (n,) of each operation, the floating-point operations and the bytes that it reads and writes; fixed: bytes of weights,
    gradients, moments and averages; activations: bytes per image at the peak.
    """

    flops: NDArray[np.float64]
    moved: NDArray[np.float64]
    fixed: float
    activations: float

    def on(self, card: Card, half: bool, images: int) -> Trial:
        """The step with a batch of so many images: it takes as long as the card computes or the host launches, whichever is longer."""
        return Trial(self._seconds(card, half, images), RESERVED * (self.fixed + images * self.activations) + CONTEXT)

    def _seconds(self, card: Card, half: bool, images: int) -> float | None:
        speed = card.half if half else card.single
        if speed is None or card.bandwidth is None:
            return None
        computed = kernel_seconds(self.flops, self.moved, speed, card.bandwidth) * images / IMAGES
        return max(computed, LAUNCH * len(self.flops))


def kernel_seconds(flops: NDArray[np.float64], moved: NDArray[np.float64], speed: float, bandwidth: float) -> float:
    """Of operations on a card: each is limited by its arithmetic or by its memory, as in the roofline model (Williams et al., 2009)."""
    return float(np.maximum(flops / speed, moved / bandwidth).sum()) * SLOWNESS


def step_cost(model: SegmentationModel, params: Params, side: int, half: bool) -> StepCost:
    """Count a training step of the network on square images of `side` pixels. half: under autocast to 16 bits.

    Raises `UserError` (`plan.model`) for a network that does not run without content, or not at this size.
    """
    shape, dtype = (IMAGES, side, side), torch.bfloat16 if half else None
    try:
        flops, moved, peak = count(model, lambda hollow: forward_backward(hollow, params, shape, torch.device("cpu"), dtype))
    except UserError:
        raise
    except Exception as error:  # libraries raise many types of errors
        found = f"{type(error).__name__}: {(str(error).splitlines() or ['no text'])[0][:200]}"
        fix = "plan on a machine with the GPU, which runs real steps, or choose another size"
        raise UserError(Problem("plan.model", f"params.yaml: model at {side} px", "a network that can be counted", found, fix)) from None
    return StepCost(flops, moved, state_bytes(model, params.train), peak / IMAGES)
