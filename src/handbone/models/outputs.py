"""What a family of networks hands to the wrapper, and what a network gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn


class Auxiliary(NamedTuple):
    """A second opinion that only the loss sees, and its weight there.

    logits: (N, classes, h, w), compared with the same target as the main output; or (N, classes), whether the class is in the image at all.
    """

    logits: Tensor
    weight: float


class Outputs(NamedTuple):
    """What a network gives in training, where it has more than logits (N, classes, h, w): deep supervision, coarse maps, presence."""

    logits: Tensor
    auxiliary: tuple[Auxiliary, ...]


@dataclass(frozen=True)
class Parts:
    """A bare network and what its input is normalised with: mean and standard deviation of each channel, in 0..1."""

    network: nn.Module
    mean: Sequence[float]
    std: Sequence[float]


Build = Callable[[str | None, str | None, int, int, dict[str, Any]], Parts]  # encoder, weights, in_channels, classes, options

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(network: nn.Module, in_channels: int, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> Parts:
    """The parts of a network whose RGB input is normalised like this; a grey one takes the channels' mean."""
    return Parts(network, mean, std) if in_channels == 3 else Parts(network, [sum(mean) / 3], [sum(std) / 3])
