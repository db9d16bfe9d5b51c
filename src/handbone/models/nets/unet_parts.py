"""What the U-Nets share: pairs of convolutions, and He et al.'s initialisation."""

from __future__ import annotations

import math

from torch import nn

UNET_WIDTHS = (64, 128, 256, 512, 1024)  # channels of the five levels, from fine to coarse


def conv_bn_relu(in_channels: int, out_channels: int) -> list[nn.Module]:
    """(N, in_channels, H, W) -> (N, out_channels, H, W): a 3x3 convolution, batch norm and ReLU."""
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU()]


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """(N, in_channels, H, W) -> (N, out_channels, H, W): twice a 3x3 convolution, batch norm and ReLU."""
    return nn.Sequential(*conv_bn_relu(in_channels, out_channels), *conv_bn_relu(out_channels, out_channels))


def init_he_normal(network: nn.Module) -> None:
    """Normal weights that keep the variance through ReLUs (He et al., "Delving Deep into Rectifiers", ICCV 2015), and zero biases."""
    for conv in _convolutions_without_bias(network):
        nn.init.normal_(conv.weight, 0, math.sqrt(2 / _fan_in(conv)))


def init_he_uniform(network: nn.Module) -> None:
    """As `init_he_normal`, with uniform weights of the same variance."""
    for conv in _convolutions_without_bias(network):
        bound = math.sqrt(6 / _fan_in(conv))
        nn.init.uniform_(conv.weight, -bound, bound)


def _convolutions_without_bias(network: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    """All convolutions, after setting their biases to 0."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    for conv in convolutions:
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
    return convolutions


def _fan_in(conv: nn.Conv2d | nn.ConvTranspose2d) -> float:
    """Connections into one output value; in a transposed convolution the stride skips some of the kernel's weights."""
    skipped = math.prod(conv.stride) if isinstance(conv, nn.ConvTranspose2d) else 1
    return conv.in_channels * math.prod(conv.kernel_size) / skipped
