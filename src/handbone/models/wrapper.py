"""The wrapper that gives every network the same contract."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.outputs import Auxiliary, Outputs


class SegmentationModel(nn.Module):
    """Float images (N, C_in, H, W) in 0..1 of any H, W -> logits (N, classes, H, W); while training `Outputs`, if the network has more.

    Normalises with the encoder's mean and standard deviation, pads bottom and right by repeating the border, until the sides are multiples
    of `multiple` and at least `minimum`, enlarges what comes out smaller (bilinear, centre-aligned), and crops back.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, multiple: int, minimum: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.multiple, self.minimum = multiple, minimum
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.register_forward_pre_hook(_spare_single_values)
                module.register_forward_hook(_resume, always_call=True)  # whatever comes of it

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """(N, C_in, H, W) in 0..1 -> (N, classes, H, W) logits."""
        height, width = images.shape[-2:]
        padded = height + self._missing(height), width + self._missing(width)
        inputs = (images - self.mean) / self.std
        if padded != (height, width):
            inputs = functional.pad(inputs, (0, padded[1] - width, 0, padded[0] - height), mode="replicate")

        def fitted(logits: Tensor) -> Tensor:
            if logits.dim() == 4 and logits.shape[-2:] != padded:
                logits = functional.interpolate(logits, padded, mode="bilinear")
            return logits[..., :height, :width] if logits.dim() == 4 else logits

        found = self.network(inputs)
        if not isinstance(found, Outputs):
            return fitted(found)
        if not self.training:
            return fitted(found.logits)
        return Outputs(fitted(found.logits), tuple(Auxiliary(fitted(own.logits), own.weight) for own in found.auxiliary))

    def _missing(self, side: int) -> int:
        return max(side + -side % self.multiple, self.minimum) - side


def _spare_single_values(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """One value a channel has no variance: a batch of one image, pooled to a pixel, is normalised by the running statistics."""
    if module.training and inputs[0].numel() == inputs[0].shape[1]:
        module.training = False
        module._spared = True  # type: ignore[assignment]


def _resume(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    if module.__dict__.pop("_spared", False):
        module.training = True
