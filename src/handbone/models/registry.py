"""Every network that `model.arch` can name: one line each. A family's file is imported only when one of its networks is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from handbone.errors import UserError, nearest
from handbone.models.parts import Build, Parts


@dataclass(frozen=True)
class Entry:
    """How to build a network, and what the sides of its input must be: a multiple of one number, and not below another."""

    build: Build
    multiple: int
    minimum: int = 0


def _smp(arch: str) -> Build:
    def build(encoder: str | None, weights: str | None, in_channels: int, classes: int, options: dict[str, Any]) -> Parts:
        from handbone.models.smp import build_smp

        return build_smp(arch, encoder, weights, in_channels, classes, options)

    return build


ENTRIES = {
    "Unet": Entry(_smp("unet"), 32),
    "UnetPlusPlus": Entry(_smp("unetplusplus"), 32),
    "MAnet": Entry(_smp("manet"), 32),
    "Linknet": Entry(_smp("linknet"), 32),
    "FPN": Entry(_smp("fpn"), 32),
    "PSPNet": Entry(_smp("pspnet"), 32),
    "PAN": Entry(_smp("pan"), 32, 128),
    "DeepLabV3": Entry(_smp("deeplabv3"), 32),
    "DeepLabV3Plus": Entry(_smp("deeplabv3plus"), 32),
    "UPerNet": Entry(_smp("upernet"), 32),
    "Segformer": Entry(_smp("segformer"), 32),
    "DPT": Entry(_smp("dpt"), 32),
}


def canonical(arch: str) -> str:
    """The registered spelling of `arch`; a `UserError` offers the nearest where there is none."""
    by_lower = {name.lower(): name for name in ENTRIES}
    if arch.lower() not in by_lower:
        raise UserError(f"model.arch: expected a known network; found {arch!r}; {nearest(arch, list(ENTRIES))}")
    return by_lower[arch.lower()]


def find(arch: str) -> Entry:
    """The entry of `arch`, whatever its letter case."""
    return ENTRIES[canonical(arch)]
