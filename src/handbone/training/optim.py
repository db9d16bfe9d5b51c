"""Optimisers by name, and which parameter learns at which rate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from handbone.config.params import TrainParams
from handbone.utils.errors import UserError

MOMENTUM = 0.9  # of SGD, Nesterov's
PRETRAINED = ("encoder", "trunk", "backbone")  # what the part of a network is called that may come with weights


def make_optimizer(model: nn.Module, params: TrainParams) -> torch.optim.Optimizer:
    """The optimiser of `params` over the parameters that learn; a group keeps its own peak rate as `peak_lr`.

    Decoupled weight decay for adamw (Loshchilov and Hutter 2019) and lion (Chen et al. 2023), spared for biases and norms.
    """
    groups = parameter_groups(model, params)
    if params.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=params.lr, momentum=MOMENTUM, nesterov=True)
    if params.optimizer == "lion":
        from timm.optim.lion import Lion  # here, as timm takes a second to import

        return Lion(groups, lr=params.lr)
    return torch.optim.AdamW(groups, lr=params.lr)


def parameter_groups(model: nn.Module, params: TrainParams) -> list[dict[str, Any]]:
    """Groups of equal rate and decay. Parameters whose rate would be 0 are frozen.

    The encoder's rate is `encoder_lr_mult` times lr, that of each of its stages `layer_decay` times that of the next one.
    Raises `UserError` where such is asked for and the network has no encoder.
    """
    scales = _encoder_scales(model, params)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        rate = params.lr * scales.get(name, 1.0)
        if rate == 0:
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            decay = params.weight_decay if parameter.dim() > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": own, "lr": rate, "peak_lr": rate, "weight_decay": decay} for (rate, decay), own in groups.items()]


def _encoder_scales(model: nn.Module, params: TrainParams) -> dict[str, float]:
    """The encoder's parameters by name, each with what its rate is multiplied by."""
    if params.encoder_lr_mult == 1 and params.layer_decay == 1:
        return {}
    found = [(name, part) for name, part in model.named_modules() if name.rpartition(".")[2] in PRETRAINED]
    if not found:
        told = f"train.encoder_lr_mult {params.encoder_lr_mult} and train.layer_decay {params.layer_decay}"
        raise UserError(f"{told}: expected a network with an encoder; found none in it; set both to 1.0, or choose another network")
    prefix, encoder = found[0]
    numbers = _stages(encoder)
    last = len(set(numbers.values())) - 1
    return {f"{prefix}.{name}": params.encoder_lr_mult * params.layer_decay ** (last - number) for name, number in numbers.items()}


def _stages(encoder: nn.Module, prefix: str = "") -> dict[str, int]:
    """The number of each parameter's stage, from the image on, by the numbers that end its parts' names (conv1, layer1, layer2; blocks.0).

    A part without one belongs to the stage before it; wrappers with a single part, and lists of parts, are looked into.
    """
    parts = [(name, part) for name, part in encoder.named_children() if any(True for _ in part.parameters())]
    if len(parts) == 1:
        inner = _stages(parts[0][1], f"{prefix}{parts[0][0]}.")
        return {f"{prefix}{name}": 0 for name, _ in encoder.named_parameters(recurse=False)} | inner
    found: dict[str, int] = {f"{prefix}{name}": 0 for name, _ in encoder.named_parameters(recurse=False)}
    number = 0
    for name, part in _listed(parts):
        digits = re.search(r"\d+$", name)
        number = int(digits[0]) if digits else number
        found |= {f"{prefix}{name}.{key}": number for key, _ in part.named_parameters()}
    ranks = {number: rank for rank, number in enumerate(sorted(set(found.values())))}
    return {name: ranks[number] for name, number in found.items()}


def _listed(parts: list[tuple[str, nn.Module]]) -> Iterator[tuple[str, nn.Module]]:
    """The parts, those of a list or sequence without a number of its own in its place."""
    for name, part in parts:
        if isinstance(part, nn.Sequential | nn.ModuleList) and not name[-1].isdigit():
            yield from ((f"{name}.{key}", inner) for key, inner in part.named_children())
        else:
            yield name, part


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Every group's rate: `factor` times its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def batch_norms(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Those that keep running statistics."""
    return [module for module in modules if isinstance(module, nn.modules.batchnorm._BatchNorm)]
