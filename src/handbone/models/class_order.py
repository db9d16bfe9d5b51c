"""Weights of a network for the same classes in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from handbone.models.registry import build_model
from handbone.models.spec import ModelSpec

Axes = dict[str, dict[int, int]]  # for each tensor by name: axes that run over the classes, with the channels per class


def reorder_classes(state: Mapping[str, Tensor], spec: ModelSpec, classes: Sequence[str]) -> dict[str, Tensor] | None:
    """The weights `state` of the network `spec`, whose outputs are then in the order of `classes`, the same names.

    None if it is not sure that the network computes the same: it is tried on an image.
    """
    numbers = torch.tensor([list(spec.classes).index(name) for name in classes])
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        axes = _class_axes(spec)
        if axes is None or any(state[name].shape[axis] % len(numbers) for name, found in axes.items() for axis in found):
            return None
        reordered = {name: _reordered(tensor, axes.get(name, {}), numbers) for name, tensor in state.items()}
        return reordered if _computes_the_same(spec, state, reordered, numbers) else None


def _class_axes(spec: ModelSpec) -> Axes | None:
    """The axes that grow if the network has one class more; None if one of them does not grow by whole classes."""
    count, found = len(spec.classes), Axes()
    larger = build_model(replace(spec, classes=[*spec.classes, "one more"])).state_dict()
    for name, tensor in build_model(spec).state_dict().items():
        if name not in larger or tensor.dim() != larger[name].dim():
            return None
        for axis, (size, grown) in enumerate(zip(tensor.shape, larger[name].shape, strict=True)):
            if size != grown:
                if size * (count + 1) != grown * count:
                    return None
                found.setdefault(name, {})[axis] = size // count
    return found


def _reordered(tensor: Tensor, axes: Mapping[int, int], numbers: Tensor) -> Tensor:
    for axis, channels in axes.items():
        index = (numbers[:, None] * channels + torch.arange(channels)).flatten()
        tensor = tensor.index_select(axis, index)
    return tensor


def _computes_the_same(spec: ModelSpec, state: Mapping[str, Tensor], reordered: Mapping[str, Tensor], numbers: Tensor) -> bool:
    model = build_model(spec).eval()
    image = torch.rand(1, spec.in_channels, 64, 96, generator=torch.Generator().manual_seed(0))
    model.load_state_dict(dict(state))
    expected = model(image)[:, numbers]
    model.load_state_dict(dict(reordered))
    found: Tensor = model(image)
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
