"""The description of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelSpec:
    """Everything that builds a network, as model.json keeps it.

    arch: a name of the registry; encoder: for architectures that take one, null is the architecture's default; in_channels: 1 or 3;
    classes: the names of the output channels, in order; options: arguments of the architecture's constructor.
    exclusive: the logits are those of a softmax over the classes, not of one sigmoid per class.
    """

    arch: str
    encoder: str | None
    in_channels: int
    classes: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    exclusive: bool = False


def option_key(spec: ModelSpec) -> str:
    """The place of the network's options in params.yaml, for error messages."""
    return f"params.yaml: model.options.{spec.arch}"
