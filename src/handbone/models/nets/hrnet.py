"""HRNetV2: Sun et al., High-Resolution Representations for Labeling Pixels and Regions, arXiv 2019. With OCR: Yuan, Chen and Wang,
Object-Contextual Representations for Semantic Segmentation, ECCV 2020. The trunk is timm's.
"""

from __future__ import annotations

from typing import ClassVar

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.outputs import Auxiliary, Outputs
from handbone.models.pretrained import IMAGENET, load_into, read_weights
from handbone.models.published import from_hub, headless

MIDDLE, KEY, DROPOUT, COARSE_WEIGHT = 512, 256, 0.05, 0.4
HEADS = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.")  # of the network that classifies


class HRNet(nn.Module):
    """(N, in_channels, H, W) -> (N, classes, H/4, W/4) from the four branches, enlarged to the first one's size and joined."""

    width: ClassVar[int]

    def __init__(self, in_channels: int, classes: int, weights: str | None = None) -> None:
        super().__init__()
        self.trunk = _trunk(self.width, in_channels, weights)
        self.head = _head(15 * self.width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes, H/4, W/4) logits."""
        logits: Tensor = self.head(_joined(self.trunk(images)))
        return logits


class HRNetOCR(nn.Module):
    """HRNet whose pixels also see the regions: each class's mean feature, by a coarse map that the loss supervises too."""

    width: ClassVar[int]

    def __init__(self, in_channels: int, classes: int, weights: str | None = None) -> None:
        super().__init__()
        joined = 15 * self.width
        self.trunk = _trunk(self.width, in_channels, weights)
        self.coarse = _head(joined, classes)
        self.pixels = nn.Sequential(nn.Conv2d(joined, MIDDLE, 3, padding=1), nn.BatchNorm2d(MIDDLE), nn.ReLU())
        self.context = RegionContext(MIDDLE, KEY)
        self.augmented = nn.Sequential(*_projection(2 * MIDDLE, MIDDLE), nn.Dropout2d(DROPOUT))
        self.score = nn.Conv2d(MIDDLE, classes, 1)

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """(N, in_channels, H, W) -> (N, classes, H/4, W/4) logits; in training with the coarse ones."""
        joined = _joined(self.trunk(images))
        coarse, pixels = self.coarse(joined), self.pixels(joined)
        context = self.context(pixels, region_features(pixels, coarse))
        logits: Tensor = self.score(self.augmented(torch.cat([context, pixels], 1)))
        return Outputs(logits, (Auxiliary(coarse, COARSE_WEIGHT),)) if self.training else logits


class RegionContext(nn.Module):
    """What the regions say at each pixel: pixels ask, regions answer, by scaled dot products."""

    def __init__(self, width: int, key: int) -> None:
        super().__init__()
        self.query = nn.Sequential(*_projection(width, key), *_projection(key, key))
        self.key = nn.Sequential(*_projection(width, key), *_projection(key, key))
        self.value = nn.Sequential(*_projection(width, key))
        self.enlarge = nn.Sequential(*_projection(key, width))

    def forward(self, pixels: Tensor, regions: Tensor) -> Tensor:
        """Pixels (N, width, h, w) and regions (N, width, classes, 1) -> (N, width, h, w)."""
        query = self.query(pixels).flatten(2).transpose(1, 2)  # (N, h * w, key)
        key = self.key(regions).flatten(2)  # (N, key, classes)
        value = self.value(regions).flatten(2).transpose(1, 2)  # (N, classes, key)
        attention = torch.softmax(query @ key * key.shape[1] ** -0.5, dim=-1)  # (N, h * w, classes), over the regions
        context: Tensor = self.enlarge((attention @ value).transpose(1, 2).unflatten(2, pixels.shape[-2:]))
        return context


def region_features(pixels: Tensor, coarse: Tensor) -> Tensor:
    """Pixels (N, C, h, w), coarse logits (N, classes, h, w) -> (N, C, classes, 1): means over the pixels, weighted by each class's map.

    The weights are a softmax over the pixels, not over the classes: overlapping classes do not compete.
    """
    weights = torch.softmax(coarse.flatten(2), dim=-1)  # (N, classes, h * w)
    return (pixels.flatten(2) @ weights.transpose(1, 2)).unsqueeze(-1)


def _trunk(width: int, in_channels: int, weights: str | None) -> nn.Module:
    name = f"hrnet_w{width}"
    # no location: the branches themselves, width, 2, 4 and 8 times width channels; timm's default puts part of the classifier on them
    trunk: nn.Module = timm.create_model(name, features_only=True, feature_location="", out_indices=(1, 2, 3, 4), in_chans=in_channels)
    if weights is not None:
        repo = f"timm/{name}.ms_in1k"
        state = from_hub(repo) if weights == IMAGENET else read_weights(weights)
        load_into(trunk, headless(state, HEADS), repo if weights == IMAGENET else weights)
    return trunk


def _joined(branches: list[Tensor]) -> Tensor:
    """Branches at 1/4, 1/8, 1/16 and 1/32 -> (N, 15 * width, H/4, W/4)."""
    size = branches[0].shape[-2:]
    return torch.cat([branches[0], *(functional.interpolate(branch, size, mode="bilinear") for branch in branches[1:])], 1)


def _head(width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, classes, 1))


def _projection(width: int, out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()


class HRNetW18(HRNet):
    """9.6 M parameters."""

    width = 18


class HRNetW32(HRNet):
    """29.6 M parameters."""

    width = 32


class HRNetW48(HRNet):
    """65.9 M parameters."""

    width = 48


class HRNetW18OCR(HRNetOCR):
    """12.1 M parameters."""

    width = 18


class HRNetW32OCR(HRNetOCR):
    """33.0 M parameters."""

    width = 32


class HRNetW48OCR(HRNetOCR):
    """70.4 M parameters."""

    width = 48
