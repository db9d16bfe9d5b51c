"""U-Net: O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.nets.unet_parts import WIDTHS, double, he_normal

DEPTH = len(WIDTHS)
CONTEXT = 92  # pixels that the unpadded convolutions take from each side


class UNet2015(nn.Module):
    """(N, in_channels, H, W) of any H, W from 96 on -> logits (N, classes, H, W).

    padding: "valid" is the paper: convolutions without padding, on an image mirrored at its border, and no normalisation; "same" pads
    every convolution with zeros and follows it by batch normalisation. The up-convolutions have no ReLU: the paper names none.
    """

    def __init__(self, in_channels: int, classes: int, padding: str = "valid") -> None:
        super().__init__()
        if padding not in ("valid", "same"):
            raise ValueError(f"padding: expected valid or same; found {padding!r}")
        # between mirrored border and crop, the valid network gives sides of 16 n + 4 only, the other one of 16 n
        self.context, self.remainder = (CONTEXT, 4) if padding == "valid" else (0, 0)
        twice = _valid if padding == "valid" else double
        self.down = nn.ModuleList(twice(fine, coarse) for fine, coarse in pairwise((in_channels, *WIDTHS)))
        self.dropout = nn.Dropout()
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in WIDTHS[-2::-1])
        self.fuse = nn.ModuleList(twice(2 * width, width) for width in WIDTHS[-2::-1])
        self.score = nn.Conv2d(WIDTHS[0], classes, 1)
        he_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes, H, W)."""
        height, width = images.shape[-2:]
        (top, bottom), (left, right) = self._extra(height), self._extra(width)
        border = [self.context + extra for extra in (left, right, top, bottom)]
        return self.inner(functional.pad(images, border, mode="reflect"))[..., top : top + height, left : left + width]

    def inner(self, padded: Tensor) -> Tensor:
        """The network without its border: (N, in_channels, 16 n + 60 + 128, ..) -> (N, classes, 16 n + 4, ..), or 16 n -> 16 n."""
        skips = []
        features = padded
        for level, down in enumerate(self.down):
            features = down(functional.max_pool2d(features, 2) if level else features)
            features = self.dropout(features) if level >= DEPTH - 2 else features  # what goes on down as well as what is handed across
            skips.append(features)
        features = skips.pop()
        for up, fuse in zip(self.up, self.fuse, strict=True):
            features = up(features)
            features = fuse(torch.cat([_centre(skips.pop(), features), features], 1))
        scores: Tensor = self.score(features)
        return scores

    def _extra(self, side: int) -> tuple[int, int]:
        """Pixels before and after that make a side one that the network can give: halved, as no more than `side - 1` can be mirrored."""
        extra = (self.remainder - side) % 2 ** (DEPTH - 1)
        return extra // 2, extra - extra // 2


def _valid(in_channels: int, out_channels: int) -> nn.Sequential:
    """(N, in_channels, H, W) -> (N, out_channels, H - 4, W - 4)."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3), nn.ReLU(), nn.Conv2d(out_channels, out_channels, 3), nn.ReLU())


def _centre(skip: Tensor, like: Tensor) -> Tensor:
    """The middle of (N, C, H, W), as large as `like`."""
    top, left = ((skip.shape[axis] - like.shape[axis]) // 2 for axis in (2, 3))
    return skip[..., top : top + like.shape[2], left : left + like.shape[3]]
