"""UNet 3+: H. Huang et al., "UNet 3+: A Full-Scale Connected UNet for Medical Image Segmentation", ICASSP 2020."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.nets.checks import check_positive, check_widths
from handbone.models.nets.unet_parts import UNET_WIDTHS, conv_bn_relu, double_conv, init_he_normal
from handbone.models.outputs import Auxiliary, Outputs
from handbone.models.recompute import recomputed

DEPTH = len(UNET_WIDTHS)
BRANCH_WIDTH = 64  # channels that a decoder node takes of every source


class Node(nn.Module):
    """The decoder node of one level: a source of every level -> (N, 5 * branch_width, h, w) at the node's level.

    Finer encoder levels are pooled and coarser decoder nodes enlarged, before a convolution that reduces each to branch_width channels.
    The enlarged sources are by far the largest maps of the network; `recompute` keeps none of them.
    widths: channels of the five encoder levels.
    """

    def __init__(self, level: int, recompute: bool, widths: Sequence[int] = UNET_WIDTHS, branch_width: int = BRANCH_WIDTH) -> None:
        super().__init__()
        self.run: Callable[..., Tensor] = recomputed if recompute else nn.Module.__call__
        fused = DEPTH * branch_width
        sources = [fused if level < other < DEPTH - 1 else width for other, width in enumerate(widths)]
        branches = [nn.Sequential(_rescale(other - level), *conv_bn_relu(width, branch_width)) for other, width in enumerate(sources)]
        self.branches = nn.ModuleList(branches)
        self.fuse = nn.Sequential(*conv_bn_relu(fused, fused))

    def forward(self, sources: list[Tensor]) -> Tensor:
        """`sources` from fine to coarse: encoder maps up to the node's level, then decoder nodes, then the coarsest encoder map."""
        maps = [self.run(branch, source) for branch, source in zip(self.branches, sources, strict=True)]
        return self.run(self.fuse, torch.cat(maps, 1))


class UNet3Plus(nn.Module):
    """UNet 3+ (Huang et al. 2020): (N, in_channels, H, W), H and W multiples of 16 -> logits (N, classes, H, W); in training `Outputs`.

    deep_supervision: every decoder node and the coarsest encoder map has scores (N, classes, h, w), all with the same weight in the loss.
    cgm: the classification-guided module, for overlapping classes: the probability that the image shows a class, (N, classes), multiplies
    the class's probabilities everywhere. The paper has one such decision for all classes, as a hard 0 or 1.
    recompute: less memory, more time. widths: channels of the five levels, from fine to coarse; branch_width: of each source in a node.
    Raises ValueError for widths that cannot be used.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        deep_supervision: bool = True,
        cgm: bool = False,
        recompute: bool = True,
        widths: Sequence[int] = UNET_WIDTHS,
        branch_width: int = BRANCH_WIDTH,
    ) -> None:
        check_widths(widths, DEPTH)
        check_positive(branch_width=branch_width)
        super().__init__()
        fused = DEPTH * branch_width
        self.down = nn.ModuleList(double_conv(fine, coarse) for fine, coarse in pairwise((in_channels, *widths)))
        self.nodes = nn.ModuleList(Node(level, recompute, widths, branch_width) for level in range(DEPTH - 1))
        scored = [fused] * (DEPTH - 1) + [widths[-1]] if deep_supervision else [fused]
        self.scores = nn.ModuleList(nn.Conv2d(width, classes, 3, padding=1) for width in scored)
        self.presence = nn.Sequential(nn.Dropout(), nn.Conv2d(widths[-1], classes, 1)) if cgm else None
        init_he_normal(self)

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """(N, in_channels, H, W) -> (N, classes, H, W); in training `Outputs`, with auxiliary logits at the size of their node."""
        maps = self._maps(images)
        presence = self.presence(maps[-1]).amax((2, 3)) if self.presence else None  # (N, classes)

        def logits_of(score: nn.Module, features: Tensor) -> Tensor:
            logits: Tensor = score(features)
            return logits if presence is None else gated(logits, presence.detach())

        logits = logits_of(self.scores[0], maps[0])
        if not self.training:
            return logits
        auxiliary = [logits_of(score, features) for score, features in zip(self.scores[1:], maps[1:], strict=False)]
        auxiliary += [] if presence is None else [presence]
        return Outputs(logits, tuple(Auxiliary(other, 1.0) for other in auxiliary)) if auxiliary else logits

    def _maps(self, images: Tensor) -> list[Tensor]:
        """The maps of the four decoder nodes (N, 320, h, w), from fine to coarse, and the coarsest encoder map (N, 1024, h, w)."""
        maps = [self.down[0](images)]
        for down in self.down[1:]:
            maps.append(down(functional.max_pool2d(maps[-1], 2)))
        for level in reversed(range(DEPTH - 1)):
            maps[level] = self.nodes[level](maps)  # finer nodes take this map instead of the encoder's
        return maps


def gated(logits: Tensor, presence: Tensor) -> Tensor:
    """The logits (N, C, H, W) of `sigmoid(logits) * sigmoid(presence)`, presence (N, C): an absent class has probability 0.

    With q the product, -log(q / (1 - q)) = log(exp(-l) (1 + exp(-p)) + exp(-p)).
    A product of logits and probabilities would leave a probability of 0.5.
    """
    absent = -presence[..., None, None]
    return -torch.logaddexp(functional.softplus(absent) - logits, absent)


def _rescale(levels: int) -> nn.Module:
    """Enlarge a map that is `levels` levels coarser; pool it if `levels` is negative."""
    if levels == 0:
        return nn.Identity()
    return nn.Upsample(scale_factor=2**levels, mode="bilinear") if levels > 0 else nn.MaxPool2d(2**-levels)
