"""What describes a network: enough to build it again anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelSpec:
    """A network by name, as model.json keeps it.

    arch: a name of the registry; encoder: for architectures that take one, null for the architecture's default; in_channels: 1 or 3;
    classes: the names of the output channels, in order; options: arguments of the architecture's constructor.
    """

    arch: str
    encoder: str | None
    in_channels: int
    classes: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
