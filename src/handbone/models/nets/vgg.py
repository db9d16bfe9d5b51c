"""VGG16 as the trunk of segmentation networks: K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image
Recognition, ICLR 2015. FCN, DeconvNet, SegNet, DeepLab and DilatedNet differ in its pools, dilations and padding, and share the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import VGG16_BN_Weights, VGG16_Weights

from handbone.models.pretrained import IMAGENET, State, downloaded, load_into, read_weights
from handbone.utils.errors import UserError

WIDTHS, DEPTHS = (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)
FC_WIDTH, FC_KERNEL = 4096, 7
FC_NAMES = {"fc6.weight": "0.weight", "fc6.bias": "0.bias", "fc7.weight": "3.weight", "fc7.bias": "3.bias"}  # in torchvision's classifier

Transform = TypeVar("Transform", nn.Conv2d, nn.ConvTranspose2d)
Pooled = tuple[Tensor, torch.Size]  # where in its map each maximum lay, and that map's (h, w)


class Convolution(nn.Conv2d):
    """A convolution before a ReLU: He's normal start, which keeps the spread of the activations through many layers; no bias at first."""

    def reset_parameters(self) -> None:
        """Draw the weights."""
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def started(convolution: Transform, std: float) -> Transform:
    """The convolution with weights of N(0, std) and no bias."""
    nn.init.normal_(convolution.weight, std=std)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


class VGG16(nn.Module):
    """Thirteen 3x3 convolutions in five stages; its parameters have torchvision's names.

    norm: batch norm after each convolution. dilations: of each stage. pools: what ends each stage, 2x2 maxima if not told.
    padded: whether a convolution keeps the size.
    """

    def __init__(
        self,
        in_channels: int,
        norm: bool = False,
        dilations: Sequence[int] = (1, 1, 1, 1, 1),
        pools: Sequence[nn.Module] | None = None,
        padded: bool = True,
    ) -> None:
        super().__init__()
        self.norm = norm
        self.features, self.ends = nn.Sequential(), []
        channels = in_channels
        for stage, (width, depth, dilation) in enumerate(zip(WIDTHS, DEPTHS, dilations, strict=True)):
            for _ in range(depth):
                self.features.append(Convolution(channels, width, 3, padding=dilation if padded else 0, dilation=dilation))
                self.features.extend([nn.BatchNorm2d(width), nn.ReLU()] if norm else [nn.ReLU()])
                channels = width
            self.ends.append(len(self.features))
            self.features.append(pools[stage] if pools else nn.MaxPool2d(2))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, in_channels, H, W) -> what each of the five pools gives, by default (N, 64, H/2, W/2) to (N, 512, H/32, W/32)."""
        features, found = images, []
        for index, layer in enumerate(self.features):
            features = layer(features)
            if index in self.ends:
                found.append(features)
        return found

    def indexed(self, images: Tensor) -> tuple[Tensor, list[Pooled]]:
        """(N, in_channels, H, W) -> the last of 2x2 maxima, and what each of the five pools needs to be undone."""
        features, pooled = images, []
        for index, layer in enumerate(self.features):
            if index in self.ends:
                size = features.shape[-2:]
                features, where = functional.max_pool2d(features, 2, return_indices=True)
                pooled.append((where, size))
            else:
                features = layer(features)
        return features, pooled


class Head(nn.Module):
    """VGG16's fc6 and fc7 as convolutions, each with ReLU and dropout: (N, 512, h, w) -> (N, width, h', w')."""

    def __init__(self, width: int = FC_WIDTH, kernel: int = FC_KERNEL, padding: int = 0, dilation: int = 1) -> None:
        super().__init__()
        self.fc6 = Convolution(WIDTHS[-1], width, kernel, padding=padding, dilation=dilation)
        self.fc7 = Convolution(width, width, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, features: Tensor) -> Tensor:
        """Apply both."""
        hidden = self.dropout(functional.relu(self.fc6(features)))
        found: Tensor = self.dropout(functional.relu(self.fc7(hidden)))
        return found


def mirror(layer: Callable[[int, int], nn.Module], last: nn.Module) -> nn.ModuleList:
    """The stages of a decoder, deepest first: a `layer(from, to)` for each convolution of the trunk, but `last` for the very first one.

    The last layer of a stage takes over the width of the next.
    """
    stages = nn.ModuleList()
    for stage in reversed(range(5)):
        width, following = WIDTHS[stage], WIDTHS[max(stage - 1, 0)]
        inner = [layer(width, width) for _ in range(DEPTHS[stage] - 1)]
        stages.append(nn.Sequential(*inner, layer(width, following) if stage else last))
    return stages


def unpooled(features: Tensor, pooled: list[Pooled], stages: Iterable[nn.Module]) -> Tensor:
    """Undo each pool of the trunk, the last one first: each value goes back to where its maximum lay, then its stage is applied."""
    for stage, (where, size) in zip(stages, reversed(pooled), strict=True):
        features = stage(functional.max_unpool2d(features, where, [2, 2], output_size=size))
    return features


def bilinear_up(channels: int, factor: int, groups: int = 1) -> nn.ConvTranspose2d:
    """A transposed convolution (N, channels, h, w) -> (N, channels, h·factor, w·factor) that starts as bilinear enlargement.

    factor: an even number. groups: 1 lets channels mix once it learns, `channels` never does.
    """
    up = nn.ConvTranspose2d(channels, channels, 2 * factor, factor, factor // 2, groups=groups, bias=False)
    ramp = 1 - (torch.arange(2 * factor) - factor + 0.5).abs() / factor
    own = torch.eye(channels // groups).repeat(groups, 1)  # (channels, channels / groups): 1 where from and to are the same
    with torch.no_grad():
        up.weight.copy_(own[..., None, None] * torch.outer(ramp, ramp))
    return up


def load_vgg16(weights: str, trunk: VGG16, heads: Iterable[tuple[nn.Conv2d, nn.Conv2d]] = ()) -> None:
    """Fill the trunk, and each (fc6, fc7), with a state dict of torchvision's VGG16 or, if it has batch norm, VGG16_BN.

    weights: "imagenet" or a file. A file without the classifier, of the convolutions alone, leaves fc6 and fc7 as they are.
    """
    source = VGG16_BN_Weights.IMAGENET1K_V1 if trunk.norm else VGG16_Weights.IMAGENET1K_V1
    state = downloaded(source.url) if weights == IMAGENET else read_weights(weights)
    load_into(trunk, {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}, weights)
    if any(name.startswith("classifier.") for name in state):
        _check_finite(state, weights)
        for fc6, fc7 in heads:
            load_into(nn.ModuleDict({"fc6": fc6, "fc7": fc7}), _decimated(state, fc6), weights)


def _check_finite(state: Mapping[str, Tensor], where: str) -> None:
    if any(not tensor.isfinite().all() for name, tensor in state.items() if name.startswith("classifier.")):
        raise UserError(
            f"{where}: expected finite weights; found NaN in its classifier, as in torchvision's IMAGENET1K_FEATURES, which want another "
            "normalisation too; use VGG16_Weights.IMAGENET1K_V1"
        )


def _decimated(state: Mapping[str, Tensor], fc6: nn.Conv2d) -> State:
    """torchvision's fully connected layers as weights of fc6 and fc7: every n-th channel and tap, where fc6 is narrower or smaller."""
    flat, square = state.get("classifier.0.weight"), (WIDTHS[-1], FC_KERNEL, FC_KERNEL)
    channel, tap = FC_WIDTH // fc6.out_channels, (FC_KERNEL - 1) // (fc6.kernel_size[0] - 1)
    parts = {name: state[f"classifier.{index}"] for name, index in FC_NAMES.items() if f"classifier.{index}" in state}
    if flat is not None and flat.shape == (FC_WIDTH, WIDTHS[-1] * FC_KERNEL**2):  # else the misfit is told as it is
        parts["fc6.weight"] = flat.view(-1, *square)[:, :, ::tap, ::tap]
    if "fc7.weight" in parts:
        parts["fc7.weight"] = parts["fc7.weight"][:, ::channel, None, None]
    return {name: tensor[::channel] for name, tensor in parts.items()}
