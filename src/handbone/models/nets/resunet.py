"""ResUNet: Z. Zhang, Q. Liu, Y. Wang, "Road Extraction by Deep Residual U-Net", IEEE Geoscience and Remote Sensing Letters, 2018."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.nets.checks import check_widths
from handbone.models.nets.unet_parts import init_he_normal

RESUNET_WIDTHS = (64, 128, 256, 512)  # channels of the three levels and of the bridge


class ResidualUnit(nn.Module):
    """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride): two convolutions, batch norm and ReLU before each.

    The first unit convolves the image directly. The shortcut is a 1x1 convolution, as the widths differ in every unit.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, first: bool = False) -> None:
        super().__init__()
        self.before = nn.Identity() if first else nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU())
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, ..); the shortcut takes the features before batch norm and ReLU."""
        result: Tensor = self.residual(self.before(features)) + self.shortcut(features)
        return result


class ResUNet(nn.Module):
    """ResUNet (Zhang et al. 2018): (N, in_channels, H, W), H and W multiples of 8 -> logits (N, classes, H, W). It has strides, no pooling.

    widths: channels of the three levels, from fine to coarse, and of the bridge. Raises ValueError for widths that cannot be used.
    """

    def __init__(self, in_channels: int, classes: int, widths: Sequence[int] = RESUNET_WIDTHS) -> None:
        check_widths(widths, len(RESUNET_WIDTHS))
        super().__init__()
        coarser = [ResidualUnit(fine, coarse, 2) for fine, coarse in pairwise(widths)]
        self.down = nn.ModuleList([ResidualUnit(in_channels, widths[0], 1, first=True), *coarser])
        self.fuse = nn.ModuleList(ResidualUnit(coarse + fine, fine, 1) for coarse, fine in pairwise(widths[::-1]))
        self.score = nn.Conv2d(widths[0], classes, 1)
        init_he_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes, H, W)."""
        skips = []
        features = images
        for down in self.down:
            features = down(features)
            skips.append(features)
        features = skips.pop()
        for fuse in self.fuse:
            features = fuse(torch.cat([functional.interpolate(features, scale_factor=2), skips.pop()], 1))
        scores: Tensor = self.score(features)
        return scores
