"""SegNet: V. Badrinarayanan, A. Kendall and R. Cipolla, SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation,
TPAMI 2017.
"""

from __future__ import annotations

from torch import Tensor, nn

from handbone.models.nets.vgg import VGG16, WIDTHS, Convolution, load_vgg16, mirror, unpooled


def _layer(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(Convolution(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())


class SegNet(nn.Module):
    """(N, in_channels, H, W), sides of at least 32 -> logits (N, classes, H, W).

    weights: None, "imagenet", or a file of torchvision's VGG16_BN.
    """

    def __init__(self, in_channels: int, classes: int, weights: str | None = None) -> None:
        super().__init__()
        self.trunk = VGG16(in_channels, norm=True)
        if weights is not None:
            load_vgg16(weights, self.trunk)
        self.decoder = mirror(_layer, nn.Conv2d(WIDTHS[0], classes, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        """Down by the trunk, and up by its own indices."""
        return unpooled(*self.trunk.indexed(images), self.decoder)
