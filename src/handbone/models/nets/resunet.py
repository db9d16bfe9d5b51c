"""ResUNet: Z. Zhang, Q. Liu, Y. Wang, "Road Extraction by Deep Residual U-Net", IEEE Geoscience and Remote Sensing Letters, 2018."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.nets.unet_parts import he_normal

WIDTHS = (64, 128, 256, 512)  # three levels and the bridge


class ResidualUnit(nn.Module):
    """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride): two convolutions, each normalised and rectified before it.

    The image is not: the first unit starts with its convolution. The shortcut is a 1x1 convolution, as the widths differ in every unit.
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
        """The residual is added to the features as they came, not to the rectified ones."""
        result: Tensor = self.residual(self.before(features)) + self.shortcut(features)
        return result


class ResUNet(nn.Module):
    """(N, in_channels, H, W), H and W multiples of 8 -> logits (N, classes, H, W). Strides instead of pooling."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        coarser = [ResidualUnit(fine, coarse, 2) for fine, coarse in pairwise(WIDTHS)]
        self.down = nn.ModuleList([ResidualUnit(in_channels, WIDTHS[0], 1, first=True), *coarser])
        self.fuse = nn.ModuleList(ResidualUnit(coarse + fine, fine, 1) for coarse, fine in pairwise(WIDTHS[::-1]))
        self.score = nn.Conv2d(WIDTHS[0], classes, 1)
        he_normal(self)

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
