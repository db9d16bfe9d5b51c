"""The wrapper that gives every network the same contract."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class UniformModel(nn.Module):
    """Float images (N, C_in, H, W) in 0..1 of any H, W -> logits (N, classes, H, W).

    Normalises with the encoder's mean and standard deviation, pads bottom and right by repeating the border, until the sides are multiples
    of `multiple` and at least `minimum`, and crops back.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, multiple: int, minimum: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.multiple, self.minimum = multiple, minimum
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C_in, H, W) in 0..1 -> (N, classes, H, W) logits."""
        height, width = images.shape[-2:]
        padding = (0, self._missing(width), 0, self._missing(height))
        normalised = (images - self.mean) / self.std
        logits: Tensor = self.network(functional.pad(normalised, padding, mode="replicate") if any(padding) else normalised)
        return logits[..., :height, :width]

    def _missing(self, side: int) -> int:
        return max(side + -side % self.multiple, self.minimum) - side
