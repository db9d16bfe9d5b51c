"""FC-DenseNet: S. Jegou et al., "The One Hundred Layers Tiramisu: Fully Convolutional DenseNets for Semantic Segmentation", CVPRW 2017."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models.nets.checks import check_positive
from handbone.models.nets.unet_parts import init_he_uniform
from handbone.models.recompute import recomputed

STEM_WIDTH = 48  # maps of the first convolution
Run = Callable[..., Tensor]  # a module and its inputs -> its output


class Layer(nn.Module):
    """Maps of one size, (N, any, H, W) each -> (N, out_channels, H, W): concatenation, batch norm, ReLU, convolution, dropout."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, *maps: Tensor) -> Tensor:
        """The channels of all `maps` together are in_channels."""
        result: Tensor = self.dropout(self.conv(functional.relu(self.norm(torch.cat(maps, 1)))))
        return result


class TransitionDown(Layer):
    """Maps of one size, (N, any, H, W) each -> (N, in_channels, H // 2, W // 2)."""

    def __init__(self, in_channels: int, dropout: float) -> None:
        super().__init__(in_channels, in_channels, 1, dropout)

    def forward(self, *maps: Tensor) -> Tensor:
        """The channels of all `maps` together are in_channels."""
        return functional.max_pool2d(super().forward(*maps), 2)


class TransitionUp(nn.Module):
    """Maps of one size, (N, any, H, W) each -> (N, channels, 2 H + 1, 2 W + 1), at least as large as the map that was pooled to H, W."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, channels, 3, stride=2)

    def forward(self, *maps: Tensor) -> Tensor:
        """The channels of all `maps` together are `channels`."""
        result: Tensor = self.conv(torch.cat(maps, 1))
        return result


class Score(nn.Module):
    """Maps of one size, (N, any, H, W) each -> (N, classes, H, W)."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, classes, 1)

    def forward(self, *maps: Tensor) -> Tensor:
        """The channels of all `maps` together are in_channels."""
        result: Tensor = self.conv(torch.cat(maps, 1))
        return result


class Block(nn.Module):
    """Layers, each of which takes the block's input and the maps of all layers before it."""

    def __init__(self, in_channels: int, depth: int, growth: int, dropout: float, run: Run) -> None:
        super().__init__()
        self.run = run
        self.layers = nn.ModuleList(Layer(in_channels + index * growth, growth, 3, dropout) for index in range(depth))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps (N, any, H, W) with in_channels channels together -> only the new maps, (N, growth, H, W) each."""
        new: list[Tensor] = []
        for layer in self.layers:
            new.append(self.run(layer, *maps, *new))
        return new


class FCDenseNet(nn.Module):
    """FC-DenseNet (Jegou et al. 2017): (N, in_channels, H, W) of any H, W from 32 on -> logits (N, classes, H, W).

    depths: layers of each block on the way down, and in reverse on the way up; bottleneck: layers of the block between. growth: maps that
    each layer adds; stem_width: maps of the first convolution. Raises ValueError for widths or a dropout that cannot be used.

    Blocks pass on a list of their layers' maps, never its concatenation. With `recompute` each layer concatenates, normalises and rectifies
    a second time for its gradient, and memory grows with the number of layers instead of its square.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        depths: Sequence[int],
        bottleneck: int,
        growth: int,
        stem_width: int = STEM_WIDTH,
        dropout: float = 0.2,
        recompute: bool = True,
    ) -> None:
        check_positive(growth=growth, stem_width=stem_width)
        super().__init__()
        self.run: Run = recomputed if recompute else nn.Module.__call__
        self.stem = nn.Conv2d(in_channels, stem_width, 3, padding=1)
        self.down, self.pool, self.up, self.fuse = nn.ModuleList(), nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width, skips = stem_width, []
        for depth in depths:
            self.down.append(Block(width, depth, growth, dropout, self.run))
            width += depth * growth
            skips.append(width)
            self.pool.append(TransitionDown(width, dropout))
        self.middle = Block(width, bottleneck, growth, dropout, self.run)
        new = bottleneck * growth
        for depth in reversed(depths):
            self.up.append(TransitionUp(new))
            width = new + skips.pop()
            self.fuse.append(Block(width, depth, growth, dropout, self.run))
            new = depth * growth
        self.score = Score(width + new, classes)
        init_he_uniform(self)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes, H, W)."""
        maps, skips = [self.stem(images)], []
        for block, pool in zip(self.down, self.pool, strict=True):
            skips.append([*maps, *block(maps)])
            maps = [self.run(pool, *skips[-1])]
        new = self.middle(maps)
        for up, block in zip(self.up, self.fuse, strict=True):
            skip = skips.pop()  # only the new maps go up: with a block's input too, the maps would grow at every block
            maps = [_crop(self.run(up, *new), skip[0]), *skip]
            new = block(maps)
        return self.run(self.score, *maps, *new)


def _crop(enlarged: Tensor, like: Tensor) -> Tensor:
    """(N, C, 2 h + 1, 2 w + 1) -> (N, C, H, W) of `like`."""
    return enlarged[..., : like.shape[2], : like.shape[3]]


class FCDenseNet56(FCDenseNet):
    """56 layers: blocks of 4, with 12 maps each; arguments and shapes as in `FCDenseNet`."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        growth: int = 12,
        stem_width: int = STEM_WIDTH,
        dropout: float = 0.2,
        recompute: bool = True,
    ) -> None:
        super().__init__(in_channels, classes, (4, 4, 4, 4, 4), 4, growth, stem_width, dropout, recompute)


class FCDenseNet67(FCDenseNet):
    """67 layers: blocks of 5, with 16 maps each; arguments and shapes as in `FCDenseNet`."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        growth: int = 16,
        stem_width: int = STEM_WIDTH,
        dropout: float = 0.2,
        recompute: bool = True,
    ) -> None:
        super().__init__(in_channels, classes, (5, 5, 5, 5, 5), 5, growth, stem_width, dropout, recompute)


class FCDenseNet103(FCDenseNet):
    """103 layers: blocks of 4 to 15, with 16 maps each; arguments and shapes as in `FCDenseNet`."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        growth: int = 16,
        stem_width: int = STEM_WIDTH,
        dropout: float = 0.2,
        recompute: bool = True,
    ) -> None:
        super().__init__(in_channels, classes, (4, 5, 7, 10, 12), 15, growth, stem_width, dropout, recompute)
