"""VGG16 as the trunk of segmentation networks.

K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015. FCN, DeconvNet, SegNet, DeepLab
and DilatedNet differ in its pools, dilations and padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import VGG16_BN_Weights, VGG16_Weights

from handbone.models.builder import Stages
from handbone.models.nets.checks import check_widths
from handbone.models.pretrained import IMAGENET, State, download, load_into, read_weights
from handbone.utils.errors import Problem, UserError

VGG_WIDTHS, VGG_DEPTHS = (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)  # channels and convolutions of each stage
VGG_FC_WIDTH, VGG_FC_KERNEL = 4096, 7
FC_NAMES = {"fc6.weight": "0.weight", "fc6.bias": "0.bias", "fc7.weight": "3.weight", "fc7.bias": "3.bias"}  # in torchvision's classifier

Transform = TypeVar("Transform", nn.Conv2d, nn.ConvTranspose2d)
Pooled = tuple[Tensor, torch.Size]  # the position of each maximum in the map before the pool, and that map's (h, w)


class Convolution(nn.Conv2d):
    """A convolution before a ReLU: He's normal initialisation keeps the spread of activations through many layers; the bias is 0."""

    def reset_parameters(self) -> None:
        """Draw the weights."""
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def init_normal(convolution: Transform, std: float) -> Transform:
    """The convolution, with weights from N(0, std²) and a bias of 0."""
    nn.init.normal_(convolution.weight, std=std)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


class VGG16(nn.Module):
    """Thirteen 3x3 convolutions in five stages: (N, in_channels, H, W) -> the maps after each stage. Parameters have torchvision's names.

    norm: batch norm after each convolution. dilations, widths: of each stage. pools: the end of each stage, null: 2x2 maxima.
    padded: convolutions keep the size. Raises ValueError unless there are five positive widths.
    """

    def __init__(
        self,
        in_channels: int,
        norm: bool = False,
        dilations: Sequence[int] = (1, 1, 1, 1, 1),
        pools: Sequence[nn.Module] | None = None,
        padded: bool = True,
        widths: Sequence[int] = VGG_WIDTHS,
    ) -> None:
        check_widths(widths, len(VGG_DEPTHS))
        super().__init__()
        self.norm = norm
        self.features, self.ends = nn.Sequential(), []
        channels = in_channels
        for stage, (width, depth, dilation) in enumerate(zip(widths, VGG_DEPTHS, dilations, strict=True)):
            for _ in range(depth):
                self.features.append(Convolution(channels, width, 3, padding=dilation if padded else 0, dilation=dilation))
                self.features.extend([nn.BatchNorm2d(width), nn.ReLU()] if norm else [nn.ReLU()])
                channels = width
            self.ends.append(len(self.features))
            self.features.append(pools[stage] if pools else nn.MaxPool2d(2))

    @property
    def stages(self) -> Stages:
        """The five stages, as prefixes of the names of their parameters."""
        return [[f"features.{layer}." for layer in range(start, end)] for start, end in pairwise([0, *self.ends])]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, in_channels, H, W) -> the maps after each of the five pools, by default (N, 64, H/2, W/2) to (N, 512, H/32, W/32)."""
        features, maps = images, []
        for index, layer in enumerate(self.features):
            features = layer(features)
            if index in self.ends:
                maps.append(features)
        return maps

    def with_indices(self, images: Tensor) -> tuple[Tensor, list[Pooled]]:
        """(N, in_channels, H, W) -> the map after the last 2x2 pool, and what `unpool` needs to invert each of the five pools."""
        features, pooled = images, []
        for index, layer in enumerate(self.features):
            if index in self.ends:
                size = features.shape[-2:]
                features, positions = functional.max_pool2d(features, 2, return_indices=True)
                pooled.append((positions, size))
            else:
                features = layer(features)
        return features, pooled


class Head(nn.Module):
    """VGG16's fc6 and fc7 as convolutions, each with ReLU and dropout: (N, in_channels, h, w) -> (N, width, h', w')."""

    def __init__(
        self,
        in_channels: int = VGG_WIDTHS[-1],
        width: int = VGG_FC_WIDTH,
        kernel: int = VGG_FC_KERNEL,
        padding: int = 0,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.fc6 = Convolution(in_channels, width, kernel, padding=padding, dilation=dilation)
        self.fc7 = Convolution(width, width, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, features: Tensor) -> Tensor:
        """(N, in_channels, h, w) -> (N, width, h', w'), smaller than h, w by what the kernel takes without padding."""
        hidden = self.dropout(functional.relu(self.fc6(features)))
        output: Tensor = self.dropout(functional.relu(self.fc7(hidden)))
        return output


def mirror(layer: Callable[[int, int], nn.Module], last: nn.Module, widths: Sequence[int] = VGG_WIDTHS) -> nn.ModuleList:
    """The stages of a decoder, deepest first: a `layer(in, out)` for each convolution of a trunk of these widths, `last` for its first one.

    The last layer of a stage has the width of the next stage.
    """
    stages = nn.ModuleList()
    for stage in reversed(range(len(widths))):
        width, following = widths[stage], widths[max(stage - 1, 0)]
        inner = [layer(width, width) for _ in range(VGG_DEPTHS[stage] - 1)]
        stages.append(nn.Sequential(*inner, layer(width, following) if stage else last))
    return stages


def unpool(features: Tensor, pooled: list[Pooled], stages: Iterable[nn.Module]) -> Tensor:
    """Invert each pool of the trunk, the last one first: put each value at the position of its maximum, then apply the decoder's stage."""
    for stage, (positions, size) in zip(stages, reversed(pooled), strict=True):
        features = stage(functional.max_unpool2d(features, positions, [2, 2], output_size=size))
    return features


def bilinear_up(channels: int, factor: int, groups: int = 1) -> nn.ConvTranspose2d:
    """A transposed convolution (N, channels, h, w) -> (N, channels, h·factor, w·factor), initialised as bilinear enlargement.

    factor: an even number. groups: 1 lets training mix the channels, `channels` never does.
    """
    up = nn.ConvTranspose2d(channels, channels, 2 * factor, factor, factor // 2, groups=groups, bias=False)
    ramp = 1 - (torch.arange(2 * factor) - factor + 0.5).abs() / factor
    same = torch.eye(channels // groups).repeat(groups, 1)  # (channels, channels / groups): 1 where input and output are the same channel
    with torch.no_grad():
        up.weight.copy_(same[..., None, None] * torch.outer(ramp, ramp))
    return up


def load_vgg16(weights: str, trunk: VGG16, heads: Iterable[tuple[nn.Conv2d, nn.Conv2d]] = ()) -> None:
    """Load a state dict of torchvision's VGG16, or of VGG16_BN if the trunk has batch norm, into the trunk and each (fc6, fc7).

    weights: "imagenet" or a file. A file of the convolutions alone, without a classifier, leaves fc6 and fc7 as they are.
    Raises `UserError` (`weights.*`) if the weights are missing, not finite or do not fit.
    """
    published = VGG16_BN_Weights.IMAGENET1K_V1 if trunk.norm else VGG16_Weights.IMAGENET1K_V1
    state = download(published.url) if weights == IMAGENET else read_weights(weights)
    load_into(trunk, {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}, weights)
    if any(name.startswith("classifier.") for name in state):
        _check_finite(state, weights)
        for fc6, fc7 in heads:
            load_into(nn.ModuleDict({"fc6": fc6, "fc7": fc7}), _decimated(state, fc6), weights)


def _check_finite(state: Mapping[str, Tensor], source: str) -> None:
    if any(not tensor.isfinite().all() for name, tensor in state.items() if name.startswith("classifier.")):
        found = "NaN in the classifier, as in torchvision's IMAGENET1K_FEATURES, which also need another normalisation"
        raise UserError(Problem("weights.not_finite", source, "finite weights", found, "use VGG16_Weights.IMAGENET1K_V1"))


def _decimated(state: Mapping[str, Tensor], fc6: nn.Conv2d) -> State:
    """torchvision's fully connected layers as weights of fc6 and fc7: every n-th channel and tap, if fc6 is narrower or smaller."""
    flat, shape = state.get("classifier.0.weight"), (VGG_WIDTHS[-1], VGG_FC_KERNEL, VGG_FC_KERNEL)
    channel, tap = max(1, VGG_FC_WIDTH // fc6.out_channels), (VGG_FC_KERNEL - 1) // (fc6.kernel_size[0] - 1)
    parts = {name: state[f"classifier.{index}"] for name, index in FC_NAMES.items() if f"classifier.{index}" in state}
    if flat is not None and flat.shape == (VGG_FC_WIDTH, VGG_WIDTHS[-1] * VGG_FC_KERNEL**2):  # otherwise load_into reports the shape
        parts["fc6.weight"] = flat.view(-1, *shape)[:, :, ::tap, ::tap]
    if "fc7.weight" in parts:
        parts["fc7.weight"] = parts["fc7.weight"][:, ::channel, None, None]
    return {name: tensor[::channel] for name, tensor in parts.items()}
