"""Attention U-Net: O. Oktay et al., "Attention U-Net: Learning Where to Look for the Pancreas", MIDL 2018. Here in 2-D."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.nets.checks import check_widths
from handbone.models.nets.unet_parts import UNET_WIDTHS, conv_bn_relu, double_conv, init_he_normal


class AttentionGate(nn.Module):
    """A skip connection (N, C, H, W), weighted at each pixel by its agreement with the gating signal (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = channels // 2
        self.of_gate = nn.Sequential(nn.Conv2d(channels, middle, 1), nn.BatchNorm2d(middle))
        self.of_skip = nn.Sequential(nn.Conv2d(channels, middle, 1), nn.BatchNorm2d(middle))
        self.attention = nn.Sequential(nn.ReLU(), nn.Conv2d(middle, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """(N, C, H, W) twice -> (N, C, H, W): one coefficient in 0..1 per pixel, for all channels."""
        coefficients: Tensor = self.attention(self.of_gate(gate) + self.of_skip(skip))  # (N, 1, H, W)
        return skip * coefficients


class AttentionUNet(nn.Module):
    """Attention U-Net (Oktay et al. 2018): (N, in_channels, H, W), H and W multiples of 16 -> logits (N, classes, H, W).

    widths: channels of the five levels, from fine to coarse. Raises ValueError for widths that cannot be used.
    """

    def __init__(self, in_channels: int, classes: int, widths: Sequence[int] = UNET_WIDTHS) -> None:
        check_widths(widths, len(UNET_WIDTHS))
        super().__init__()
        finer = widths[-2::-1]
        self.down = nn.ModuleList(double_conv(fine, coarse) for fine, coarse in pairwise((in_channels, *widths)))
        self.up = nn.ModuleList(nn.Sequential(*conv_bn_relu(coarse, fine)) for coarse, fine in pairwise(widths[::-1]))
        self.gates = nn.ModuleList(AttentionGate(width) for width in finer)
        self.fuse = nn.ModuleList(double_conv(2 * width, width) for width in finer)
        self.score = nn.Conv2d(widths[0], classes, 1)
        init_he_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes, H, W)."""
        skips = [self.down[0](images)]
        for down in self.down[1:]:
            skips.append(down(functional.max_pool2d(skips[-1], 2)))
        features = skips.pop()
        for up, gate, fuse in zip(self.up, self.gates, self.fuse, strict=True):
            features = up(functional.interpolate(features, scale_factor=2, mode="bilinear"))
            features = fuse(torch.cat([gate(skips.pop(), features), features], 1))
        scores: Tensor = self.score(features)
        return scores
