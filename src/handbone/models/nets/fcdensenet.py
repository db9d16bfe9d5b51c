"""FC-DenseNet: S. Jegou et al., "The One Hundred Layers Tiramisu: Fully Convolutional DenseNets for Semantic Segmentation", CVPRW 2017."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.nets.recompute import recomputed
from handbone.models.nets.unet_parts import he_uniform

STEM = 48  # maps of the first convolution
Run = Callable[..., Tensor]  # a module and its inputs -> what it gives


class Layer(nn.Module):
    """Maps of one size, (N, any, H, W) each -> (N, out_channels, H, W): concatenated, normalised, rectified, convolved, dropped out."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, *maps: Tensor) -> Tensor:
        """`maps` have in_channels together."""
        result: Tensor = self.dropout(self.conv(functional.relu(self.norm(torch.cat(maps, 1)))))
        return result


class TransitionDown(Layer):
    """Maps of one size, (N, any, H, W) each -> (N, in_channels, H // 2, W // 2)."""

    def __init__(self, in_channels: int, dropout: float) -> None:
        super().__init__(in_channels, in_channels, 1, dropout)

    def forward(self, *maps: Tensor) -> Tensor:
        """`maps` have in_channels together."""
        return functional.max_pool2d(super().forward(*maps), 2)


class TransitionUp(nn.Module):
    """Maps of one size, (N, any, H, W) each -> (N, channels, 2 H + 1, 2 W + 1), at least as large as what was halved to H, W."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, channels, 3, stride=2)

    def forward(self, *maps: Tensor) -> Tensor:
        """`maps` have `channels` together."""
        result: Tensor = self.conv(torch.cat(maps, 1))
        return result


class Score(nn.Module):
    """Maps of one size, (N, any, H, W) each -> (N, classes, H, W)."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, classes, 1)

    def forward(self, *maps: Tensor) -> Tensor:
        """`maps` have in_channels together."""
        result: Tensor = self.conv(torch.cat(maps, 1))
        return result


class Block(nn.Module):
    """Layers each of which takes all maps that came before it, those of the block's input too."""

    def __init__(self, in_channels: int, depth: int, growth: int, dropout: float, run: Run) -> None:
        super().__init__()
        self.run = run
        self.layers = nn.ModuleList(Layer(in_channels + index * growth, growth, 3, dropout) for index in range(depth))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps (N, any, H, W), in_channels together -> the new ones alone, (N, growth, H, W) each."""
        new: list[Tensor] = []
        for layer in self.layers:
            new.append(self.run(layer, *maps, *new))
        return new


class FCDenseNet(nn.Module):
    """(N, in_channels, H, W) of any H, W from 32 on -> logits (N, classes, H, W).

    What is passed on is the list of what the layers made, never its concatenation: with `recompute` each layer concatenates, normalises
    and rectifies anew for its gradient, and memory grows with the number of layers rather than with its square.
    """

    depths: ClassVar[Sequence[int]]  # layers of each block on the way down; as many on the way up
    bottleneck: ClassVar[int]
    growth: ClassVar[int]

    def __init__(self, in_channels: int, classes: int, dropout: float = 0.2, recompute: bool = True) -> None:
        super().__init__()
        self.run: Run = recomputed if recompute else nn.Module.__call__
        self.stem = nn.Conv2d(in_channels, STEM, 3, padding=1)
        self.down, self.pool, self.up, self.fuse = nn.ModuleList(), nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width, skips = STEM, []
        for depth in self.depths:
            self.down.append(Block(width, depth, self.growth, dropout, self.run))
            width += depth * self.growth
            skips.append(width)
            self.pool.append(TransitionDown(width, dropout))
        self.middle = Block(width, self.bottleneck, self.growth, dropout, self.run)
        new = self.bottleneck * self.growth
        for depth in reversed(self.depths):
            self.up.append(TransitionUp(new))
            width = new + skips.pop()
            self.fuse.append(Block(width, depth, self.growth, dropout, self.run))
            new = depth * self.growth
        self.score = Score(width + new, classes)
        he_uniform(self)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes, H, W)."""
        maps, skips = [self.stem(images)], []
        for block, pool in zip(self.down, self.pool, strict=True):
            skips.append([*maps, *block(maps)])
            maps = [self.run(pool, *skips[-1])]
        new = self.middle(maps)
        for up, block in zip(self.up, self.fuse, strict=True):
            skip = skips.pop()  # the new maps alone go up: with their input, the maps would grow at every block
            maps = [_cut(self.run(up, *new), skip[0]), *skip]
            new = block(maps)
        return self.run(self.score, *maps, *new)


def _cut(enlarged: Tensor, like: Tensor) -> Tensor:
    """(N, C, 2 h + 1, 2 w + 1) -> (N, C, H, W) of `like`."""
    return enlarged[..., : like.shape[2], : like.shape[3]]


class FCDenseNet56(FCDenseNet):
    """56 layers: blocks of four, 12 maps each."""

    depths, bottleneck, growth = (4, 4, 4, 4, 4), 4, 12


class FCDenseNet67(FCDenseNet):
    """67 layers: blocks of five, 16 maps each."""

    depths, bottleneck, growth = (5, 5, 5, 5, 5), 5, 16


class FCDenseNet103(FCDenseNet):
    """103 layers: blocks of 4 to 15, 16 maps each."""

    depths, bottleneck, growth = (4, 5, 7, 10, 12), 15, 16
