"""What a family of networks hands to the wrapper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Parts:
    """A bare network and what its input is normalised with: mean and standard deviation of each channel, in 0..1."""

    network: nn.Module
    mean: Sequence[float]
    std: Sequence[float]


Build = Callable[[str | None, str | None, int, int, dict[str, Any]], Parts]  # encoder, weights, in_channels, classes, options
