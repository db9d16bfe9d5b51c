"""DilatedNet: F. Yu and V. Koltun, Multi-Scale Context Aggregation by Dilated Convolutions, ICLR 2016."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.nets.vgg import FC_WIDTH, VGG16, Head, bilinear_up, load_vgg16, started
from handbone.models.outputs import Auxiliary, Outputs

BORDER = 186  # what the unpadded convolutions of the front end eat, in pixels of the image
DILATIONS = (1, 1, 2, 4, 8, 16, 1)
CONTEXTS = {"none": (), "basic": (1, 1, 1, 1, 1, 1, 1), "large": (2, 2, 4, 8, 16, 32, 32)}  # widths, in numbers of classes


class DilatedNet(nn.Module):
    """(N, in_channels, H, W), sides multiples of 8 from 192 on -> logits (N, classes, H, W); in training `Outputs`, unless context is none.

    weights: None, "imagenet", or a file of torchvision's VGG16. context: none (the front end alone), basic or large.
    """

    def __init__(self, in_channels: int, classes: int, weights: str | None = None, context: str = "basic") -> None:
        if context not in CONTEXTS:
            raise ValueError(f"context: expected {', '.join(CONTEXTS)}; found {context!r}")
        super().__init__()
        pools = [nn.MaxPool2d(2), nn.MaxPool2d(2), nn.MaxPool2d(2), nn.Identity(), nn.Identity()]
        self.trunk = VGG16(in_channels, dilations=(1, 1, 1, 1, 2), pools=pools, padded=False)
        self.head = Head(dilation=4)
        if weights is not None:
            load_vgg16(weights, self.trunk, [(self.head.fc6, self.head.fc7)])
        self.score = started(nn.Conv2d(FC_WIDTH, classes, 1), 0.001)
        self.context = None if context == "none" else Context(classes, CONTEXTS[context])
        self.up = bilinear_up(classes, 8, groups=classes).requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """Logits; in training those of the front end too.

        The paper trains the front end first. The context starts as identity with ReLU, which takes the gradient from every negative score:
        without a loss of its own the front end may drive a class below zero everywhere, and never hear of it again.
        """
        features = self.trunk(functional.pad(images, (BORDER,) * 4, mode="reflect"))[-1]
        scores: Tensor = self.score(self.head(features))
        if self.context is None:
            logits: Tensor = self.up(scores)
            return logits
        logits = self.up(self.context(scores))
        return Outputs(logits, (Auxiliary(scores, 1.0),)) if self.training else logits


class Context(nn.Sequential):
    """Scores (N, classes, h, w) -> the same from 67 x 67 of them: 3x3 convolutions of growing dilation with ReLU, then a 1x1 without.

    widths: of each 3x3 convolution, in numbers of classes.
    """

    def __init__(self, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        channels = classes
        for width, dilation in zip(widths, DILATIONS, strict=True):
            wider = nn.Conv2d(channels, classes * width, 3, padding=dilation, dilation=dilation)
            self.extend([_identity(wider, classes), nn.ReLU()])
            channels = classes * width
        self.append(_identity(nn.Conv2d(channels, classes, 1), classes))


def _identity(convolution: nn.Conv2d, classes: int) -> nn.Conv2d:
    """The paper's start: the channels of a class share what came from it, so that the whole context hands its scores on.

    Noise tells channels of the same class apart; where each class has one channel there is none, and the start is exact.
    """
    to, came = convolution.out_channels, convolution.in_channels
    share = classes / to
    several = max(to, came) > classes
    started(convolution, 0.01 * share if several else 0.0)
    same = (torch.arange(to) * classes // to)[:, None] == torch.arange(came) * classes // came
    centre = convolution.kernel_size[0] // 2
    with torch.no_grad():
        tap = convolution.weight[:, :, centre, centre]
        tap.copy_(torch.where(same, share, tap))
    return convolution
