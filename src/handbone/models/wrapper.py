"""The wrapper that gives every network the same contract."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.outputs import Auxiliary, Outputs


class SegmentationModel(nn.Module):
    """Float images (N, C_in, H, W) in 0..1 of any H, W -> logits (N, classes, H, W); in training `Outputs`, if the network has more.

    It normalises with `mean` and `std` of each channel and repeats the border at the bottom and right until both sides are multiples of
    `divisor` and at least `min_size` pixels. It enlarges smaller logits (bilinear, centre-aligned) and crops them to the image.

    encoder_stages: names of the parameters of the part that may be pretrained, stage by stage from the image on; empty without such a part.
    The constructor takes prefixes of these names, relative to `network`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        divisor: int,
        min_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        encoder_stages: Sequence[Sequence[str]] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.divisor, self.min_size = divisor, min_size
        names = [name for name, _ in network.named_parameters()]
        self.encoder_stages = [[f"network.{name}" for name in names if name.startswith(tuple(stage))] for stage in encoder_stages]
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))
        # hooks, as there are several classes of batch norm, and only at the layer is it known how many values a channel has
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module._was_training = False  # type: ignore[assignment]
                module.register_forward_pre_hook(_eval_for_single_value)
                module.register_forward_hook(_train_again, always_call=True)  # after an exception too

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """(N, C_in, H, W) in 0..1 -> (N, classes, H, W) logits; in training `Outputs`, if the network returns them."""
        height, width = images.shape[-2:]
        padded = self._padded(height), self._padded(width)
        inputs = (images - self.mean) / self.std
        if padded != (height, width):
            inputs = functional.pad(inputs, (0, padded[1] - width, 0, padded[0] - height), mode="replicate")

        def fit(logits: Tensor) -> Tensor:
            if logits.dim() == 2:  # (N, classes): whether the image shows the class
                return logits
            if logits.shape[-2:] != padded:
                logits = functional.interpolate(logits, padded, mode="bilinear")
            return logits[..., :height, :width]

        outputs = self.network(inputs)
        if not isinstance(outputs, Outputs):
            if not isinstance(outputs, Tensor):  # as with an option that adds outputs
                raise TypeError(f"the network returned a {type(outputs).__name__} instead of one tensor")
            return fit(outputs)
        if not self.training:
            return fit(outputs.logits)
        return Outputs(fit(outputs.logits), tuple(Auxiliary(fit(other.logits), other.weight) for other in outputs.auxiliary))

    def _padded(self, side: int) -> int:
        return max(side + -side % self.divisor, self.min_size)


def _eval_for_single_value(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """A single value per channel (a batch of one image, pooled to one pixel) has no variance: running statistics normalise it."""
    if module.training and inputs[0].numel() == inputs[0].shape[1]:
        module.training = False
        module._was_training = True  # type: ignore[assignment]


def _train_again(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    if module._was_training:
        module.training, module._was_training = True, False  # type: ignore[assignment]
