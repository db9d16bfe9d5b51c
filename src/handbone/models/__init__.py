"""Networks by name, behind one contract: (N, C_in, H, W) images in, (N, classes, H, W) logits out."""

from __future__ import annotations

from typing import Any

from handbone.models.registry import find
from handbone.models.uniform import UniformModel
from handbone.models.weights import NONE


def build_model(
    arch: str, encoder: str | None = None, weights: str | None = None, in_channels: int = 3, classes: int = 29, **options: Any
) -> UniformModel:
    """The network `arch` (letter case does not matter) on `encoder`.

    weights: None or "none" (random), "imagenet" (of its pretrained parts, downloaded unless an installed package carries them), or a file.
    `options` go to the architecture's constructor. A network with a trunk of its own takes no notice of `encoder`.
    The module takes float images in 0..1 of any H, W. Raises `UserError` for an unknown name, and where the parts do not fit together.
    """
    entry = find(arch)
    parts = entry.build(encoder, None if weights == NONE else weights, in_channels, classes, options)
    return UniformModel(parts.network, entry.multiple, entry.minimum, parts.mean, parts.std)
