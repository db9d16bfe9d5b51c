"""Networks by name, behind one contract: (N, C_in, H, W) images in, (N, classes, H, W) logits out."""

from __future__ import annotations

from typing import Any

from handbone.models.registry import find
from handbone.models.uniform import UniformModel


def build_model(
    arch: str, encoder: str | None = None, weights: str | None = None, in_channels: int = 3, classes: int = 29, **options: Any
) -> UniformModel:
    """The network `arch` (letter case does not matter) on `encoder`.

    weights: None or "none" (random) or "imagenet" (the encoder's, downloaded). `options` go to the architecture's constructor.
    The module takes float images in 0..1 of any H, W. Raises `UserError` for an unknown name, and where the parts do not fit together.
    """
    entry = find(arch)
    parts = entry.build(encoder, None if weights == "none" else weights, in_channels, classes, options)
    return UniformModel(parts.network, entry.multiple, entry.minimum, parts.mean, parts.std)
