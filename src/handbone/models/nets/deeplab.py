"""DeepLab v1 and v2, without their CRF, which is `infer.crf`.

v1 (LargeFOV): L.-C. Chen et al., Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs, ICLR 2015.
v2 (atrous spatial pyramid pooling): L.-C. Chen et al., DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous
Convolution, and Fully Connected CRFs, TPAMI 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet101_Weights
from torchvision.models.resnet import Bottleneck, ResNet

from handbone.models.builder import with_prefix
from handbone.models.nets.checks import check_positive
from handbone.models.nets.vgg import VGG16, VGG_WIDTHS, Head, init_normal, load_vgg16
from handbone.models.outputs import Auxiliary, Outputs
from handbone.models.pretrained import IMAGENET, download, load_into, read_weights, without
from handbone.models.torchvision import RESNET_STAGES

DEEPLAB_FC_WIDTH = 1024
RESNET101_DEPTHS = (3, 4, 23, 3)
SMALLER_SCALES = (0.75, 0.5)


def _to_corners(images: Tensor) -> Tensor:
    """Repeat the bottom and right border until both sides are 8k + 1: then a map of an eighth of the size has the image's corners."""
    height, width = images.shape[-2:]
    return functional.pad(images, (0, (1 - width) % 8, 0, (1 - height) % 8), mode="replicate")


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(maps, size, mode="bilinear", align_corners=True)


def _enlarge(scores: Tensor, images: Tensor) -> Tensor:
    """Scores of `_to_corners(images)` (N, classes, k + 1, l + 1) -> (N, classes, H, W), the size of `images`."""
    eighths = [8 * (side - 1) + 1 for side in scores.shape[-2:]]
    return _resize(scores, eighths)[..., : images.shape[-2], : images.shape[-1]]


class _DeepLabVGG(nn.Module):
    """VGG16 with stride 1 in the last two pools, and a branch of fc6, fc7 and fc8 for each rate; the scores of the branches are summed."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        weights: str | None,
        rates: Sequence[int],
        averaged: bool,
        widths: Sequence[int],
        fc_width: int,
    ) -> None:
        check_positive(fc_width=fc_width)
        super().__init__()
        pools: list[nn.Module] = [nn.MaxPool2d(3, stride, 1) for stride in (2, 2, 2, 1, 1)]
        if averaged:
            pools[-1] = nn.Sequential(pools[-1], nn.AvgPool2d(3, 1, 1))
        self.trunk = VGG16(in_channels, dilations=(1, 1, 1, 1, 2), pools=pools, widths=widths)
        heads = [Head(widths[-1], fc_width, 3, rate, rate) for rate in rates]
        if weights is not None:
            load_vgg16(weights, self.trunk, [(head.fc6, head.fc7) for head in heads])
        self.heads = nn.ModuleList(heads)
        self.scores = nn.ModuleList(init_normal(nn.Conv2d(fc_width, classes, 1), 0.01) for _ in rates)
        self.encoder_stages = with_prefix("trunk.", self.trunk.stages)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> logits (N, classes, H, W)."""
        features = self.trunk(_to_corners(images))[-1]
        branches = [score(head(features)) for head, score in zip(self.heads, self.scores, strict=True)]
        return _enlarge(torch.stack(branches).sum(0), images)


class DeepLabV1(_DeepLabVGG):
    """DeepLab-LargeFOV (Chen et al. 2015): (N, in_channels, H, W) of any H, W -> logits (N, classes, H, W).

    weights: null, "imagenet", or a file of torchvision's VGG16. widths, fc_width: channels of VGG16's five stages, and of fc6 and fc7.
    Raises ValueError for widths that cannot be used, and `UserError` (`weights.*`) for weights that cannot be used.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        weights: str | None = None,
        widths: Sequence[int] = VGG_WIDTHS,
        fc_width: int = DEEPLAB_FC_WIDTH,
    ) -> None:
        super().__init__(in_channels, classes, weights, (12,), True, widths, fc_width)


class DeepLabV2VGG(_DeepLabVGG):
    """DeepLab v2 on VGG16 (Chen et al. 2018): (N, in_channels, H, W) of any H, W -> logits (N, classes, H, W).

    rates: one branch for each; the default is the paper's ASPP-L, its ASPP-S is 2, 4, 8, 12. Other arguments and errors as in `DeepLabV1`.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        weights: str | None = None,
        rates: Sequence[int] = (6, 12, 18, 24),
        widths: Sequence[int] = VGG_WIDTHS,
        fc_width: int = DEEPLAB_FC_WIDTH,
    ) -> None:
        if not rates or min(rates) < 1:
            raise ValueError(f"rates: expected one or more whole numbers from 1 on; found {list(rates)}")
        super().__init__(in_channels, classes, weights, rates, False, widths, fc_width)


class FixedNorm(nn.BatchNorm2d):
    """Batch norm that keeps its statistics and factors in training too."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> FixedNorm:
        """Stay in eval mode."""
        return super().train(False)


def _resnet101(in_channels: int, weights: str | None, depths: Sequence[int]) -> nn.Sequential:
    """torchvision's ResNet-101 to an eighth of the size; batch norm is fixed if it is pretrained, as in the authors' code."""
    norm = nn.BatchNorm2d if weights is None else FixedNorm
    whole = ResNet(Bottleneck, list(depths), replace_stride_with_dilation=[False, True, True], norm_layer=norm)
    whole.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
    nn.init.kaiming_normal_(whole.conv1.weight, mode="fan_out", nonlinearity="relu")
    trunk = nn.Sequential()
    for name, part in whole.named_children():
        if name not in ("avgpool", "fc"):
            trunk.add_module(name, part)
    if weights is not None:
        state = download(ResNet101_Weights.IMAGENET1K_V2.url) if weights == IMAGENET else read_weights(weights)
        load_into(trunk, without(state, ("fc.",)), weights)
    return trunk


class DeepLabV2ResNet101(nn.Module):
    """DeepLab v2 on ResNet-101 (Chen et al. 2018): (N, in_channels, H, W) of any H, W -> logits (N, classes, H, W).

    weights: null, "imagenet", or a file of torchvision's ResNet-101. multi_scale: the maximum of the scores at full, 3/4 and half the size;
    in training the scores of each scale are an auxiliary output. depths: blocks of the four stages.
    Raises ValueError for depths that cannot be used, and `UserError` (`weights.*`) for weights that cannot be used.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        weights: str | None = None,
        multi_scale: bool = True,
        depths: Sequence[int] = RESNET101_DEPTHS,
    ) -> None:
        if len(depths) != len(RESNET101_DEPTHS) or min(depths) < 1:
            raise ValueError(f"depths: expected {len(RESNET101_DEPTHS)} whole numbers from 1 on; found {list(depths)}")
        super().__init__()
        self.multi_scale = multi_scale
        self.trunk = _resnet101(in_channels, weights, depths)
        atrous = (nn.Conv2d(2048, classes, 3, padding=rate, dilation=rate) for rate in (6, 12, 18, 24))
        self.scores = nn.ModuleList(init_normal(convolution, 0.01) for convolution in atrous)
        self.encoder_stages = with_prefix("trunk.", RESNET_STAGES)

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """(N, in_channels, H, W) -> (N, classes, H, W); in training `Outputs` with the logits of each scale, if there are several."""
        full = _to_corners(images)
        scores = self._score(full)
        if not self.multi_scale:
            return _enlarge(scores, images)
        scales = [scores, *(_resize(self._score(_shrink(full, scale)), scores.shape[-2:]) for scale in SMALLER_SCALES)]
        logits = _enlarge(reduce(torch.maximum, scales), images)
        return Outputs(logits, tuple(Auxiliary(_enlarge(scale, images), 1.0) for scale in scales)) if self.training else logits

    def _score(self, images: Tensor) -> Tensor:
        features = self.trunk(images)
        return torch.stack([score(features) for score in self.scores]).sum(0)


def _shrink(images: Tensor, scale: float) -> Tensor:
    """Sides of 8k + 1 -> the sides of that form nearest to `scale` times them."""
    return _resize(images, [8 * round((side - 1) / 8 * scale) + 1 for side in images.shape[-2:]])
