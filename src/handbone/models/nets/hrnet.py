"""HRNetV2, with and without object-contextual representations. The trunk is timm's.

K. Sun et al., High-Resolution Representations for Labeling Pixels and Regions, arXiv 2019.
OCR: Y. Yuan, X. Chen and J. Wang, Object-Contextual Representations for Semantic Segmentation, ECCV 2020.
"""

from __future__ import annotations

from typing import ClassVar

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.builder import Stages, with_prefix
from handbone.models.outputs import Auxiliary, Outputs
from handbone.models.pretrained import IMAGENET, download_from_hub, load_into, read_weights, without

MIDDLE, KEY, DROPOUT, COARSE_WEIGHT = 512, 256, 0.05, 0.4
HEADS = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.")  # of the classification network
HRNET_STAGES: Stages = (
    ("conv1.", "bn1.", "conv2.", "bn2.", "layer1."),
    ("transition1.", "stage2."),
    ("transition2.", "stage3."),
    ("transition3.", "stage4."),
)


class HRNet(nn.Module):
    """HRNetV2 (Sun et al. 2019): (N, in_channels, H, W), sides multiples of 32 -> logits (N, classes, H/4, W/4).

    The head takes all four branches, enlarged to the size of the first one. weights: null, "imagenet", or a file of timm's HRNet.
    Raises `UserError` (`weights.*`) for weights that cannot be used.
    """

    width: ClassVar[int]

    def __init__(self, in_channels: int, classes: int, weights: str | None = None) -> None:
        super().__init__()
        self.trunk = _trunk(self.width, in_channels, weights)
        self.encoder_stages = with_prefix("trunk.", HRNET_STAGES)
        self.head = _head(15 * self.width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes, H/4, W/4) logits."""
        logits: Tensor = self.head(_joined(self.trunk(images)))
        return logits


class HRNetOCR(nn.Module):
    """HRNet with OCR (Yuan et al. 2020): (N, in_channels, H, W), sides multiples of 32 -> logits (N, classes, H/4, W/4).

    Each pixel also sees every class's mean feature, by a coarse map; in training the coarse map is an auxiliary output.
    weights and errors as in `HRNet`.
    """

    width: ClassVar[int]

    def __init__(self, in_channels: int, classes: int, weights: str | None = None) -> None:
        super().__init__()
        joined = 15 * self.width
        self.trunk = _trunk(self.width, in_channels, weights)
        self.encoder_stages = with_prefix("trunk.", HRNET_STAGES)
        self.coarse = _head(joined, classes)
        self.pixels = nn.Sequential(nn.Conv2d(joined, MIDDLE, 3, padding=1), nn.BatchNorm2d(MIDDLE), nn.ReLU())
        self.context = RegionContext(MIDDLE, KEY)
        self.augmented = nn.Sequential(*_projection(2 * MIDDLE, MIDDLE), nn.Dropout2d(DROPOUT))
        self.score = nn.Conv2d(MIDDLE, classes, 1)

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """(N, in_channels, H, W) -> (N, classes, H/4, W/4) logits; in training `Outputs` with the coarse logits."""
        joined = _joined(self.trunk(images))
        coarse, pixels = self.coarse(joined), self.pixels(joined)
        context = self.context(pixels, region_features(pixels, coarse))
        logits: Tensor = self.score(self.augmented(torch.cat([context, pixels], 1)))
        return Outputs(logits, (Auxiliary(coarse, COARSE_WEIGHT),)) if self.training else logits


class RegionContext(nn.Module):
    """Attention of pixels (queries) to regions (keys and values), by scaled dot products."""

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
    # feature_location "": the branches themselves, of 1, 2, 4 and 8 times width channels; timm's default adds part of the classifier
    trunk: nn.Module = timm.create_model(name, features_only=True, feature_location="", out_indices=(1, 2, 3, 4), in_chans=in_channels)
    if weights is not None:
        repo = f"timm/{name}.ms_in1k"
        state = download_from_hub(repo) if weights == IMAGENET else read_weights(weights)
        load_into(trunk, without(state, HEADS), repo if weights == IMAGENET else weights)
    return trunk


def _joined(branches: list[Tensor]) -> Tensor:
    """Branches at 1/4, 1/8, 1/16 and 1/32 of the size -> (N, 15 * width, H/4, W/4)."""
    size = branches[0].shape[-2:]
    return torch.cat([branches[0], *(functional.interpolate(branch, size, mode="bilinear") for branch in branches[1:])], 1)


def _head(width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, classes, 1))


def _projection(width: int, out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()


class HRNetW18(HRNet):
    """HRNetV2 of width 18: 9.6 M parameters; shapes as in `HRNet`."""

    width = 18


class HRNetW32(HRNet):
    """HRNetV2 of width 32: 29.6 M parameters; shapes as in `HRNet`."""

    width = 32


class HRNetW48(HRNet):
    """HRNetV2 of width 48: 65.9 M parameters; shapes as in `HRNet`."""

    width = 48


class HRNetW18OCR(HRNetOCR):
    """HRNetV2 of width 18 with OCR: 12.1 M parameters; shapes as in `HRNetOCR`."""

    width = 18


class HRNetW32OCR(HRNetOCR):
    """HRNetV2 of width 32 with OCR: 33.0 M parameters; shapes as in `HRNetOCR`."""

    width = 32


class HRNetW48OCR(HRNetOCR):
    """HRNetV2 of width 48 with OCR: 70.4 M parameters; shapes as in `HRNetOCR`."""

    width = 48
