"""DilatedNet: F. Yu and V. Koltun, Multi-Scale Context Aggregation by Dilated Convolutions, ICLR 2016."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.builder import with_prefix
from handbone.models.nets.checks import check_positive
from handbone.models.nets.vgg import VGG16, VGG_FC_WIDTH, VGG_WIDTHS, Head, bilinear_up, init_normal, load_vgg16
from handbone.models.outputs import Auxiliary, Outputs

BORDER = 186  # pixels of the image that the front end's convolutions without padding remove on each side
DILATIONS = (1, 1, 2, 4, 8, 16, 1)
CONTEXTS = {"none": (), "basic": (1, 1, 1, 1, 1, 1, 1), "large": (2, 2, 4, 8, 16, 32, 32)}  # widths, in numbers of classes


class DilatedNet(nn.Module):
    """DilatedNet (Yu and Koltun 2016): (N, in_channels, H, W), sides multiples of 8 from 192 on -> logits (N, classes, H, W).

    In training `Outputs`, unless context is none. weights: null, "imagenet", or a file of torchvision's VGG16.
    context: none (only the front end), basic or large. widths, fc_width: channels of VGG16's five stages, and of fc6 and fc7.
    Raises ValueError for a context or widths that cannot be used, and `UserError` (`weights.*`) for weights that cannot be used.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        weights: str | None = None,
        context: str = "basic",
        widths: Sequence[int] = VGG_WIDTHS,
        fc_width: int = VGG_FC_WIDTH,
    ) -> None:
        if context not in CONTEXTS:
            raise ValueError(f"context: expected {', '.join(CONTEXTS)}; found {context!r}")
        check_positive(fc_width=fc_width)
        super().__init__()
        pools = [nn.MaxPool2d(2), nn.MaxPool2d(2), nn.MaxPool2d(2), nn.Identity(), nn.Identity()]
        self.trunk = VGG16(in_channels, dilations=(1, 1, 1, 1, 2), pools=pools, padded=False, widths=widths)
        self.head = Head(widths[-1], fc_width, dilation=4)
        if weights is not None:
            load_vgg16(weights, self.trunk, [(self.head.fc6, self.head.fc7)])
        self.score = init_normal(nn.Conv2d(fc_width, classes, 1), 0.001)
        self.context = None if context == "none" else Context(classes, CONTEXTS[context])
        self.up = bilinear_up(classes, 8, groups=classes).requires_grad_(False)
        self.encoder_stages = with_prefix("trunk.", self.trunk.stages)

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """(N, in_channels, H, W) -> (N, classes, H, W); in training `Outputs` with the front end's logits (N, classes, H/8, W/8).

        The paper trains the front end first. Here both train together, and the context starts as the identity with ReLU: a negative score
        has no gradient through it. Without a loss on the front end, a class that is negative everywhere could never recover.
        """
        features = self.trunk(functional.pad(images, (BORDER,) * 4, mode="reflect"))[-1]
        scores: Tensor = self.score(self.head(features))
        if self.context is None:
            logits: Tensor = self.up(scores)
            return logits
        logits = self.up(self.context(scores))
        return Outputs(logits, (Auxiliary(scores, 1.0),)) if self.training else logits


class Context(nn.Sequential):
    """The context module: scores (N, classes, h, w) -> the same shape, each from 67 x 67 scores.

    3x3 convolutions of growing dilation with ReLU, then a 1x1 convolution without. widths: of each 3x3 convolution, in numbers of classes.
    """

    def __init__(self, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        channels = classes
        for width, dilation in zip(widths, DILATIONS, strict=True):
            conv = nn.Conv2d(channels, classes * width, 3, padding=dilation, dilation=dilation)
            self.extend([_init_identity(conv, classes), nn.ReLU()])
            channels = classes * width
        self.append(_init_identity(nn.Conv2d(channels, classes, 1), classes))


def _init_identity(convolution: nn.Conv2d, classes: int) -> nn.Conv2d:
    """The paper's initialisation: each output is the mean over the input channels of its class, so that the context passes scores on.

    Noise makes channels of the same class differ. With one channel per class there is no noise, and the identity is exact.
    """
    outputs, inputs = convolution.out_channels, convolution.in_channels
    share = classes / outputs
    several = max(outputs, inputs) > classes
    init_normal(convolution, 0.01 * share if several else 0.0)
    same_class = (torch.arange(outputs) * classes // outputs)[:, None] == torch.arange(inputs) * classes // inputs
    centre = convolution.kernel_size[0] // 2
    with torch.no_grad():
        tap = convolution.weight[:, :, centre, centre]
        tap.copy_(torch.where(same_class, share, tap))
    return convolution
