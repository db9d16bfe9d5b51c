"""The layers of a network whose maps can be explained, found by one forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from handbone.models.wrapper import SegmentationModel
from handbone.utils.errors import Problem, UserError

NEAREST = 3  # names that an error offers


@dataclass(frozen=True)
class Layer:
    """A module that gives a map of the image. name: in the network; shape: (h, w) of its map; padded: (H, W) of the image it belongs to."""

    name: str
    module: nn.Module
    shape: tuple[int, int]
    padded: tuple[int, int]


def choose_layer(network: SegmentationModel, image: Tensor, name: str | None) -> Layer:
    """The layer of that name; without a name, the deepest: the smallest map of more than one pixel.

    It is searched in the encoder, if the network has one (a decoder may pool the image further, to grids that belong to no place), among
    modules with weights. Of several with such a map it is the last to finish: not a convolution, but the stage that it belongs to.
    image: (1, C_in, H, W) in 0..1. Raises `UserError` (`cam.layer`) for a name that no layer with a map has.
    """
    layers = layers_with_maps(network, image)
    if name is None:
        return _deepest([layer for layer in layers if _is_in_encoder(layer, network)])
    named = [layer for layer in layers if layer.name == name]
    if not named:
        near = get_close_matches(name, [layer.name for layer in layers], n=NEAREST, cutoff=0.0)
        expected, fix = "a layer that gives one map (N, channels, h, w) of the image", f"did you mean {' or '.join(near)}?"
        raise UserError(Problem("cam.layer", "--layer", expected, repr(name), fix))
    return named[-1]


def layers_with_maps(network: SegmentationModel, image: Tensor) -> list[Layer]:
    """The modules that return one map (N, channels, h, w) with the proportions of the image, in the order in which they finish."""
    found: list[tuple[str, nn.Module, tuple[int, int]]] = []
    padded: list[tuple[int, int]] = []

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.dim() == 4:
                found.append((name, module, (output.shape[2], output.shape[3])))

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in network.network.named_modules() if name]
    handles.append(network.network.register_forward_pre_hook(lambda _, inputs: padded.append(tuple(inputs[0].shape[-2:]))))
    try:
        with torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    height, width = padded[0]
    # other proportions: channels in the last place, or a grid that was pooled from the whole image
    return [Layer(*each, padded[0]) for each in found if abs(each[2][0] * width - each[2][1] * height) <= max(height, width)]


def _is_in_encoder(layer: Layer, network: SegmentationModel) -> bool:
    encoder = {name.removeprefix("network.") for stage in network.encoder_stages for name in stage}
    weights = [f"{layer.name}.{name}" for name, _ in layer.module.named_parameters()]
    return bool(weights) and (not encoder or encoder.issuperset(weights))


def _deepest(layers: list[Layer]) -> Layer:
    several = [layer for layer in layers if layer.shape != (1, 1)] or layers
    smallest = min(height * width for height, width in (layer.shape for layer in several))
    return [layer for layer in several if layer.shape[0] * layer.shape[1] == smallest][-1]
