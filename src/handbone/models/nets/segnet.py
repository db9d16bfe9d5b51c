"""SegNet.

V. Badrinarayanan, A. Kendall and R. Cipolla, SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation, TPAMI 2017.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from handbone.models.builder import with_prefix
from handbone.models.nets.vgg import VGG16, VGG_WIDTHS, Convolution, load_vgg16, mirror, unpool


def _layer(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(Convolution(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())


class SegNet(nn.Module):
    """SegNet (Badrinarayanan et al. 2017): (N, in_channels, H, W), sides of at least 32 -> logits (N, classes, H, W).

    weights: null, "imagenet", or a file of torchvision's VGG16_BN. widths: channels of VGG16's five stages.
    Raises ValueError for widths that cannot be used, and `UserError` (`weights.*`) for weights that cannot be used.
    """

    def __init__(self, in_channels: int, classes: int, weights: str | None = None, widths: Sequence[int] = VGG_WIDTHS) -> None:
        super().__init__()
        self.trunk = VGG16(in_channels, norm=True, widths=widths)
        if weights is not None:
            load_vgg16(weights, self.trunk)
        self.decoder = mirror(_layer, nn.Conv2d(widths[0], classes, 3, padding=1), widths)
        self.encoder_stages = with_prefix("trunk.", self.trunk.stages)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes, H, W): through the trunk, and back up by the positions of its maxima."""
        return unpool(*self.trunk.with_indices(images), self.decoder)
