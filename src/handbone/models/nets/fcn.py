"""FCN-32s, -16s and -8s: J. Long, E. Shelhamer and T. Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015.

Every convolution is padded to keep the size, while the paper pads the image by 100 pixels and crops the result; only borders differ.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from handbone.models.builder import with_prefix
from handbone.models.nets.checks import check_positive
from handbone.models.nets.vgg import VGG16, VGG_FC_WIDTH, VGG_WIDTHS, Head, bilinear_up, init_normal, load_vgg16


class _FCN(nn.Module):
    """(N, in_channels, H, W), sides multiples of 32 -> logits (N, classes, H, W).

    weights: null, "imagenet", or a file of torchvision's VGG16. widths, fc_width: channels of VGG16's five stages, and of fc6 and fc7.
    Raises ValueError for widths that cannot be used, and `UserError` (`weights.*`) for weights that cannot be used.
    """

    skips: int  # how many shallower pools add their scores

    def __init__(
        self,
        in_channels: int,
        classes: int,
        weights: str | None = None,
        widths: Sequence[int] = VGG_WIDTHS,
        fc_width: int = VGG_FC_WIDTH,
    ) -> None:
        check_positive(fc_width=fc_width)
        super().__init__()
        self.trunk = VGG16(in_channels, widths=widths)
        self.head = Head(widths[-1], fc_width, padding=3)
        if weights is not None:
            load_vgg16(weights, self.trunk, [(self.head.fc6, self.head.fc7)])
        scored = (fc_width, widths[3], widths[2])[: self.skips + 1]
        self.scores = nn.ModuleList(init_normal(nn.Conv2d(width, classes, 1), 0.0) for width in scored)
        self.doublings = nn.ModuleList(bilinear_up(classes, 2) for _ in range(self.skips))
        self.last = bilinear_up(classes, 32 >> self.skips).requires_grad_(False)  # the paper trains the doublings and fixes this one
        self.encoder_stages = with_prefix("trunk.", self.trunk.stages)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes, H, W): the enlarged scores of the head, plus those of the shallower pools."""
        *_, pool3, pool4, pool5 = self.trunk(images)
        deepest, *others = self.scores
        scores = deepest(self.head(pool5))
        for double, score, pool in zip(self.doublings, others, (pool4, pool3), strict=False):
            scores = double(scores) + score(pool)
        logits: Tensor = self.last(scores)
        return logits


class FCN32s(_FCN):
    """FCN (Long et al. 2015) without skips, scores at 1/32 of the size: (N, in_channels, H, W) -> logits (N, classes, H, W)."""

    skips = 0


class FCN16s(_FCN):
    """FCN (Long et al. 2015) with the scores of pool4: (N, in_channels, H, W) -> logits (N, classes, H, W)."""

    skips = 1


class FCN8s(_FCN):
    """FCN (Long et al. 2015) with the scores of pool4 and pool3: (N, in_channels, H, W) -> logits (N, classes, H, W)."""

    skips = 2
