"""U-Net: O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.nets.checks import check_widths
from handbone.models.nets.unet_parts import UNET_WIDTHS, double_conv, init_he_normal

DEPTH = len(UNET_WIDTHS)
CONTEXT = 92  # pixels that the convolutions without padding remove on each side


class UNet2015(nn.Module):
    """The original U-Net (Ronneberger et al. 2015): (N, in_channels, H, W) of any H, W from 96 on -> logits (N, classes, H, W).

    padding: "valid" is the paper: convolutions without padding, on an image mirrored at its border, and no normalisation; "same" pads
    every convolution with zeros and adds batch norm. The up-convolutions have no ReLU: the paper names none.
    widths: channels of the five levels, from fine to coarse. Raises ValueError for a padding or widths that cannot be used.
    """

    def __init__(self, in_channels: int, classes: int, padding: str = "valid", widths: Sequence[int] = UNET_WIDTHS) -> None:
        if padding not in ("valid", "same"):
            raise ValueError(f"padding: expected valid or same; found {padding!r}")
        check_widths(widths, DEPTH)
        super().__init__()
        # between mirrored border and crop, the network has sides of 16 n + 4 if it is valid, else of 16 n
        self.context, self.remainder = (CONTEXT, 4) if padding == "valid" else (0, 0)
        block = _valid_double_conv if padding == "valid" else double_conv
        self.down = nn.ModuleList(block(fine, coarse) for fine, coarse in pairwise((in_channels, *widths)))
        self.dropout = nn.Dropout()
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in pairwise(widths[::-1]))
        self.fuse = nn.ModuleList(block(2 * width, width) for width in widths[-2::-1])
        self.score = nn.Conv2d(widths[0], classes, 1)
        init_he_normal(self)

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
            features = self.dropout(features) if level >= DEPTH - 2 else features  # both the skip and what the next level pools
            skips.append(features)
        features = skips.pop()
        for up, fuse in zip(self.up, self.fuse, strict=True):
            features = up(features)
            features = fuse(torch.cat([_crop(skips.pop(), features), features], 1))
        scores: Tensor = self.score(features)
        return scores

    def _extra(self, side: int) -> tuple[int, int]:
        """Pixels before and after that extend a side to one that the network can have: halves, as at most `side - 1` can be mirrored."""
        extra = (self.remainder - side) % 2 ** (DEPTH - 1)
        return extra // 2, extra - extra // 2


def _valid_double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """(N, in_channels, H, W) -> (N, out_channels, H - 4, W - 4)."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3), nn.ReLU(), nn.Conv2d(out_channels, out_channels, 3), nn.ReLU())


def _crop(skip: Tensor, like: Tensor) -> Tensor:
    """The centre of (N, C, H, W), as large as `like`."""
    top, left = ((skip.shape[axis] - like.shape[axis]) // 2 for axis in (2, 3))
    return skip[..., top : top + like.shape[2], left : left + like.shape[3]]
