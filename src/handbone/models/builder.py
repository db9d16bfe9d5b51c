"""What a function that builds a network returns to the registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from handbone.models.spec import ModelSpec

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Stages = Sequence[Sequence[str]]  # prefixes of parameter names, stage by stage from the image on


@dataclass(frozen=True)
class BuiltNetwork:
    """A bare network, and what the wrapper and the optimiser must know about it.

    mean, std: of each input channel, for values in 0..1. encoder_stages: the stages of the part that may be pretrained, each as prefixes of
    the names of its parameters, from the image on; empty for a network without such a part. side: for an encoder that takes images of one
    size, or of multiples of it, this size in pixels; null: what the registry says.
    """

    network: nn.Module
    mean: Sequence[float]
    std: Sequence[float]
    encoder_stages: Stages = ()
    side: int | None = None


Builder = Callable[[ModelSpec, str | None], BuiltNetwork]  # the second argument: null, "imagenet" or a file with weights


def with_normalisation(
    network: nn.Module, in_channels: int, stages: Stages, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> BuiltNetwork:
    """The network with the RGB normalisation (mean, std) that its weights expect; a grey input uses the average over the channels."""
    if in_channels == 3:
        return BuiltNetwork(network, mean, std, stages)
    return BuiltNetwork(network, [sum(mean) / 3], [sum(std) / 3], stages)


def with_prefix(prefix: str, stages: Stages) -> Stages:
    """The stages of a part of a network, as the whole network names their parameters."""
    return [[prefix + name for name in stage] for stage in stages]
