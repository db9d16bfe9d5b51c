"""What the U-Nets that are written here share: pairs of convolutions, and He et al.'s initialisation."""

from __future__ import annotations

import math

from torch import nn

WIDTHS = (64, 128, 256, 512, 1024)  # channels of the five levels, from fine to coarse


def conv_bn_relu(in_channels: int, out_channels: int) -> list[nn.Module]:
    """(N, in_channels, H, W) -> (N, out_channels, H, W): 3x3, normalised, rectified."""
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU()]


def double(in_channels: int, out_channels: int) -> nn.Sequential:
    """(N, in_channels, H, W) -> (N, out_channels, H, W): twice 3x3, normalised, rectified."""
    return nn.Sequential(*conv_bn_relu(in_channels, out_channels), *conv_bn_relu(out_channels, out_channels))


def he_normal(network: nn.Module) -> None:
    """Gaussian weights that keep the variance of rectified values (He et al., "Delving Deep into Rectifiers", ICCV 2015), no biases."""
    for conv in _convolutions(network):
        nn.init.normal_(conv.weight, 0, math.sqrt(2 / _incoming(conv)))


def he_uniform(network: nn.Module) -> None:
    """As `he_normal`, drawn from an interval of the same variance."""
    for conv in _convolutions(network):
        bound = math.sqrt(6 / _incoming(conv))
        nn.init.uniform_(conv.weight, -bound, bound)


def _convolutions(network: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    """All of them, their biases set to 0."""
    found = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    for conv in found:
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
    return found


def _incoming(conv: nn.Conv2d | nn.ConvTranspose2d) -> float:
    """Connections into one output value. A transposed convolution has fewer than its weights: the stride skips the others."""
    skipped = math.prod(conv.stride) if isinstance(conv, nn.ConvTranspose2d) else 1
    return conv.in_channels * math.prod(conv.kernel_size) / skipped
