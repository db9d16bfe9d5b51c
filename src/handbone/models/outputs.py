"""What a network returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Auxiliary(NamedTuple):
    """An additional output that only the loss uses, and its weight in the loss.

    logits: (N, classes, h, w), compared with the same target as the main output; or (N, classes), whether the image shows the class at all.
    """

    logits: Tensor
    weight: float


class Outputs(NamedTuple):
    """What a network returns in training if it has auxiliary outputs besides its logits (N, classes, h, w)."""

    logits: Tensor
    auxiliary: tuple[Auxiliary, ...]
