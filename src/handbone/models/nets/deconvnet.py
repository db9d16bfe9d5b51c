"""DeconvNet: H. Noh, S. Hong and B. Han, Learning Deconvolution Network for Semantic Segmentation, ICCV 2015."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from handbone.models.builder import with_prefix
from handbone.models.nets.checks import check_positive
from handbone.models.nets.vgg import VGG16, VGG_FC_KERNEL, VGG_FC_WIDTH, VGG_WIDTHS, Convolution, init_normal, load_vgg16, mirror, unpool


def _bn_relu(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


def _layer(channels: int, width: int) -> nn.Sequential:
    return _bn_relu(init_normal(nn.ConvTranspose2d(channels, width, 3, padding=1), 0.01))


class DeconvNet(nn.Module):
    """DeconvNet (Noh et al. 2015): (N, in_channels, H, W), sides multiples of 32 from 224 on -> logits (N, classes, H, W).

    weights: null, "imagenet", or a file of torchvision's VGG16_BN. widths, fc_width: channels of VGG16's five stages, and of fc6 and fc7.
    Raises ValueError for widths that cannot be used, and `UserError` (`weights.*`) for weights that cannot be used.
    """

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
        self.trunk = VGG16(in_channels, norm=True, widths=widths)
        fc6, fc7 = Convolution(widths[-1], fc_width, VGG_FC_KERNEL), Convolution(fc_width, fc_width, 1)
        if weights is not None:
            load_vgg16(weights, self.trunk, [(fc6, fc7)])
        back = init_normal(nn.ConvTranspose2d(fc_width, widths[-1], VGG_FC_KERNEL), 0.01)
        self.middle = nn.Sequential(_bn_relu(fc6), _bn_relu(fc7), _bn_relu(back))
        self.decoder = mirror(_layer, nn.Sequential(_layer(widths[0], widths[0]), nn.Conv2d(widths[0], classes, 1)), widths)
        self.encoder_stages = with_prefix("trunk.", self.trunk.stages)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes, H, W): the trunk, the fully connected layers, and back up by the trunk's maxima."""
        features, pooled = self.trunk.with_indices(images)
        return unpool(self.middle(features), pooled, self.decoder)
