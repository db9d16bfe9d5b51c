"""FCN-32s, -16s and -8s: J. Long, E. Shelhamer and T. Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015.

Every convolution is padded to keep the size, where the paper pads the image by 100 pixels and crops the outcome; only borders differ.
"""

from __future__ import annotations

from torch import Tensor, nn

from handbone.models.nets.vgg import FC_WIDTH, VGG16, WIDTHS, Head, bilinear_up, load_vgg16, started


class _FCN(nn.Module):
    """(N, in_channels, H, W), sides multiples of 32 -> logits (N, classes, H, W).

    weights: None, "imagenet", or a file of torchvision's VGG16.
    """

    skips: int  # how many shallower pools add their scores

    def __init__(self, in_channels: int, classes: int, weights: str | None = None) -> None:
        super().__init__()
        self.trunk, self.head = VGG16(in_channels), Head(padding=3)
        if weights is not None:
            load_vgg16(weights, self.trunk, [(self.head.fc6, self.head.fc7)])
        widths = (FC_WIDTH, WIDTHS[3], WIDTHS[2])[: self.skips + 1]
        self.scores = nn.ModuleList(started(nn.Conv2d(width, classes, 1), 0.0) for width in widths)
        self.doublings = nn.ModuleList(bilinear_up(classes, 2) for _ in range(self.skips))
        self.last = bilinear_up(classes, 32 >> self.skips).requires_grad_(False)  # the paper learns the doublings and keeps this one

    def forward(self, images: Tensor) -> Tensor:
        """The scores of the head, enlarged, plus those of the shallower pools."""
        *_, pool3, pool4, pool5 = self.trunk(images)
        deepest, *others = self.scores
        scores = deepest(self.head(pool5))
        for double, score, pool in zip(self.doublings, others, (pool4, pool3), strict=False):
            scores = double(scores) + score(pool)
        logits: Tensor = self.last(scores)
        return logits


class FCN32s(_FCN):
    """FCN without skips: scores at 1/32 of the size."""

    skips = 0


class FCN16s(_FCN):
    """FCN with the scores of pool4."""

    skips = 1


class FCN8s(_FCN):
    """FCN with the scores of pool4 and pool3."""

    skips = 2
