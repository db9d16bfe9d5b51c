"""DeconvNet: H. Noh, S. Hong and B. Han, Learning Deconvolution Network for Semantic Segmentation, ICCV 2015."""

from __future__ import annotations

from torch import Tensor, nn

from handbone.models.nets.vgg import FC_KERNEL, FC_WIDTH, VGG16, WIDTHS, Convolution, load_vgg16, mirror, started, unpooled


def _normed(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


def _layer(channels: int, width: int) -> nn.Sequential:
    return _normed(started(nn.ConvTranspose2d(channels, width, 3, padding=1), 0.01))


class DeconvNet(nn.Module):
    """(N, in_channels, H, W), sides multiples of 32 from 224 on -> logits (N, classes, H, W).

    weights: None, "imagenet", or a file of torchvision's VGG16_BN.
    """

    def __init__(self, in_channels: int, classes: int, weights: str | None = None) -> None:
        super().__init__()
        self.trunk = VGG16(in_channels, norm=True)
        fc6, fc7 = Convolution(WIDTHS[-1], FC_WIDTH, FC_KERNEL), Convolution(FC_WIDTH, FC_WIDTH, 1)
        if weights is not None:
            load_vgg16(weights, self.trunk, [(fc6, fc7)])
        back = started(nn.ConvTranspose2d(FC_WIDTH, WIDTHS[-1], FC_KERNEL), 0.01)
        self.middle = nn.Sequential(_normed(fc6), _normed(fc7), _normed(back))
        self.decoder = mirror(_layer, nn.Sequential(_layer(WIDTHS[0], WIDTHS[0]), nn.Conv2d(WIDTHS[0], classes, 1)))

    def forward(self, images: Tensor) -> Tensor:
        """Down by the trunk, through the fully connected layers, and up by the trunk's own indices."""
        features, pooled = self.trunk.indexed(images)
        return unpooled(self.middle(features), pooled, self.decoder)
