"""UNet 3+: H. Huang et al., "UNet 3+: A Full-Scale Connected UNet for Medical Image Segmentation", ICASSP 2020."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.nets.recompute import recomputed
from handbone.models.nets.unet_parts import WIDTHS, conv_bn_relu, double, he_normal
from handbone.models.outputs import Auxiliary, Outputs

DEPTH = len(WIDTHS)
BRANCH = 64  # channels that every source is brought to
FUSED = DEPTH * BRANCH


class Node(nn.Module):
    """A decoder node: one source of every level -> (N, 320, h, w) at its own level.

    Finer encoder levels are pooled, coarser decoder nodes enlarged, before the convolution that brings them to 64 channels. The enlarged
    sources are by far the largest maps of the network; with `recompute` none of them is kept.
    """

    def __init__(self, own: int, recompute: bool) -> None:
        super().__init__()
        self.run: Callable[..., Tensor] = recomputed if recompute else nn.Module.__call__
        widths = [FUSED if own < level < DEPTH - 1 else width for level, width in enumerate(WIDTHS)]
        branches = [nn.Sequential(_rescale(level - own), *conv_bn_relu(width, BRANCH)) for level, width in enumerate(widths)]
        self.branches = nn.ModuleList(branches)
        self.fuse = nn.Sequential(*conv_bn_relu(FUSED, FUSED))

    def forward(self, sources: list[Tensor]) -> Tensor:
        """`sources` from fine to coarse: encoder maps up to the node's own level, then decoder nodes, then the coarsest encoder map."""
        found = [self.run(branch, source) for branch, source in zip(self.branches, sources, strict=True)]
        return self.run(self.fuse, torch.cat(found, 1))


class UNet3Plus(nn.Module):
    """(N, in_channels, H, W), H and W multiples of 16 -> logits (N, classes, H, W), and more while training: `Outputs`.

    deep_supervision: every decoder node and the coarsest encoder map is scored, (N, classes, h, w), and all count alike in the loss.
    cgm: the classification-guided module, for classes that overlap: whether a class is in the image at all, (N, classes), scales the
    class's probabilities everywhere. The paper has one such decision for all classes, as a hard 0 or 1.
    """

    def __init__(self, in_channels: int, classes: int, deep_supervision: bool = True, cgm: bool = False, recompute: bool = True) -> None:
        super().__init__()
        self.down = nn.ModuleList(double(fine, coarse) for fine, coarse in pairwise((in_channels, *WIDTHS)))
        self.nodes = nn.ModuleList(Node(own, recompute) for own in range(DEPTH - 1))
        scored = [FUSED] * (DEPTH - 1) + [WIDTHS[-1]] if deep_supervision else [FUSED]
        self.scores = nn.ModuleList(nn.Conv2d(width, classes, 3, padding=1) for width in scored)
        self.presence = nn.Sequential(nn.Dropout(), nn.Conv2d(WIDTHS[-1], classes, 1)) if cgm else None
        he_normal(self)

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """(N, in_channels, H, W) -> (N, classes, H, W); the auxiliary outputs of training come at the size of their node."""
        maps = self._maps(images)
        presence = self.presence(maps[-1]).amax((2, 3)) if self.presence else None  # (N, classes)

        def scored(score: nn.Module, features: Tensor) -> Tensor:
            logits: Tensor = score(features)
            return logits if presence is None else gated(logits, presence.detach())

        logits = scored(self.scores[0], maps[0])
        if not self.training:
            return logits
        auxiliary = [scored(score, features) for score, features in zip(self.scores[1:], maps[1:], strict=False)]
        auxiliary += [] if presence is None else [presence]
        return Outputs(logits, tuple(Auxiliary(own, 1.0) for own in auxiliary)) if auxiliary else logits

    def _maps(self, images: Tensor) -> list[Tensor]:
        """The four decoder nodes' maps (N, 320, h, w), from fine to coarse, and the coarsest encoder map (N, 1024, h, w)."""
        maps = [self.down[0](images)]
        for down in self.down[1:]:
            maps.append(down(functional.max_pool2d(maps[-1], 2)))
        for own in reversed(range(DEPTH - 1)):
            maps[own] = self.nodes[own](maps)  # finer nodes take this instead of the encoder map
        return maps


def gated(logits: Tensor, presence: Tensor) -> Tensor:
    """The logits (N, C, H, W) of `sigmoid(logits) * sigmoid(presence)`, presence (N, C): an absent class has probability 0.

    With q the product, -log(q / (1 - q)) = log(exp(-l) (1 + exp(-p)) + exp(-p)). Scaling logits instead would leave a probability of 0.5.
    """
    absent = -presence[..., None, None]
    return -torch.logaddexp(functional.softplus(absent) - logits, absent)


def _rescale(levels: int) -> nn.Module:
    """From a map that is so many levels coarser (finer, where negative)."""
    if levels == 0:
        return nn.Identity()
    return nn.Upsample(scale_factor=2**levels, mode="bilinear") if levels > 0 else nn.MaxPool2d(2**-levels)
