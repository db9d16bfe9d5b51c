"""DeepLab v1 (LargeFOV): L.-C. Chen et al., Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs, ICLR 2015;
v2 (atrous spatial pyramid pooling): L.-C. Chen et al., DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous
Convolution, and Fully Connected CRFs, TPAMI 2018. Without the CRF.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet101_Weights, resnet101

from handbone.models.nets.vgg import VGG16, Head, load_vgg16, started
from handbone.models.outputs import Auxiliary, Outputs
from handbone.models.pretrained import IMAGENET, downloaded, load_into, read_weights

FC_WIDTH = 1024
SMALLER_SCALES = (0.75, 0.5)


def _to_corners(images: Tensor) -> Tensor:
    """Repeat the bottom and the right until both sides are 8k + 1: then the corners of a map of an eighth are those of the image."""
    height, width = images.shape[-2:]
    return functional.pad(images, (0, (1 - width) % 8, 0, (1 - height) % 8), mode="replicate")


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(maps, size, mode="bilinear", align_corners=True)


def _enlarged(scores: Tensor, images: Tensor) -> Tensor:
    """Scores of `_to_corners(images)` (N, classes, k + 1, l + 1) -> (N, classes, H, W), as images have."""
    eighths = [8 * (side - 1) + 1 for side in scores.shape[-2:]]
    return _resized(scores, eighths)[..., : images.shape[-2], : images.shape[-1]]


class _DeepLabVGG(nn.Module):
    """VGG16 with the last two pools of stride 1, and a branch of fc6, fc7 and fc8 for each rate, whose scores are summed."""

    def __init__(self, in_channels: int, classes: int, weights: str | None, rates: Sequence[int], averaged: bool) -> None:
        super().__init__()
        pools: list[nn.Module] = [nn.MaxPool2d(3, stride, 1) for stride in (2, 2, 2, 1, 1)]
        if averaged:
            pools[-1] = nn.Sequential(pools[-1], nn.AvgPool2d(3, 1, 1))
        self.trunk = VGG16(in_channels, dilations=(1, 1, 1, 1, 2), pools=pools)
        heads = [Head(FC_WIDTH, 3, rate, rate) for rate in rates]
        if weights is not None:
            load_vgg16(weights, self.trunk, [(head.fc6, head.fc7) for head in heads])
        self.heads = nn.ModuleList(heads)
        self.scores = nn.ModuleList(started(nn.Conv2d(FC_WIDTH, classes, 1), 0.01) for _ in rates)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> logits (N, classes, H, W)."""
        features = self.trunk(_to_corners(images))[-1]
        branches = [score(head(features)) for head, score in zip(self.heads, self.scores, strict=True)]
        return _enlarged(torch.stack(branches).sum(0), images)


class DeepLabV1(_DeepLabVGG):
    """DeepLab-LargeFOV: (N, in_channels, H, W) -> logits (N, classes, H, W).

    weights: None, "imagenet", or a file of torchvision's VGG16.
    """

    def __init__(self, in_channels: int, classes: int, weights: str | None = None) -> None:
        super().__init__(in_channels, classes, weights, rates=(12,), averaged=True)


class DeepLabV2VGG(_DeepLabVGG):
    """DeepLab v2 on VGG16: (N, in_channels, H, W) -> logits (N, classes, H, W).

    weights: None, "imagenet", or a file of torchvision's VGG16. rates: a branch each; the paper's ASPP-L, its ASPP-S is 2, 4, 8, 12.
    """

    def __init__(self, in_channels: int, classes: int, weights: str | None = None, rates: Sequence[int] = (6, 12, 18, 24)) -> None:
        if not rates or not all(isinstance(rate, int) and rate > 0 for rate in rates):
            raise ValueError(f"rates: expected one or more whole numbers from 1 on; found {rates}")
        super().__init__(in_channels, classes, weights, rates, averaged=False)


class FixedNorm(nn.BatchNorm2d):
    """Batch norm that learns nothing, in training either: neither statistics nor factors."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> FixedNorm:
        """Stay as it is."""
        return super().train(False)


def _resnet101(in_channels: int, weights: str | None) -> nn.Sequential:
    """torchvision's ResNet-101 to an eighth of the size; where it is pretrained its batch norm is fixed, as the authors do."""
    whole = resnet101(replace_stride_with_dilation=[False, True, True], norm_layer=nn.BatchNorm2d if weights is None else FixedNorm)
    whole.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
    nn.init.kaiming_normal_(whole.conv1.weight, mode="fan_out", nonlinearity="relu")
    trunk = nn.Sequential()
    for name, part in whole.named_children():
        if name not in ("avgpool", "fc"):
            trunk.add_module(name, part)
    if weights is not None:
        state = downloaded(ResNet101_Weights.IMAGENET1K_V2.url) if weights == IMAGENET else read_weights(weights)
        load_into(trunk, {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}, weights)
    return trunk


class DeepLabV2ResNet101(nn.Module):
    """DeepLab v2 on ResNet-101: (N, in_channels, H, W) -> logits (N, classes, H, W).

    weights: None, "imagenet", or a file of torchvision's ResNet-101. multi_scale: the largest of the scores at full, 3/4 and half the size;
    in training each scale's scores are an auxiliary output.
    """

    def __init__(self, in_channels: int, classes: int, weights: str | None = None, multi_scale: bool = True) -> None:
        super().__init__()
        self.multi_scale = multi_scale
        self.trunk = _resnet101(in_channels, weights)
        atrous = (nn.Conv2d(2048, classes, 3, padding=rate, dilation=rate) for rate in (6, 12, 18, 24))
        self.scores = nn.ModuleList(started(convolution, 0.01) for convolution in atrous)

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """Logits; in training `Outputs` if there are several scales."""
        full = _to_corners(images)
        scores = self._scored(full)
        if not self.multi_scale:
            return _enlarged(scores, images)
        scales = [scores, *(_resized(self._scored(_shrunk(full, scale)), scores.shape[-2:]) for scale in SMALLER_SCALES)]
        logits = _enlarged(reduce(torch.maximum, scales), images)
        return Outputs(logits, tuple(Auxiliary(_enlarged(own, images), 1.0) for own in scales)) if self.training else logits

    def _scored(self, images: Tensor) -> Tensor:
        features = self.trunk(images)
        return torch.stack([score(features) for score in self.scores]).sum(0)


def _shrunk(images: Tensor, scale: float) -> Tensor:
    """Sides of 8k + 1 -> the nearest to `scale` of them that are so again."""
    return _resized(images, [8 * round((side - 1) / 8 * scale) + 1 for side in images.shape[-2:]])
