"""Optimisers by name, and the learning rate of each parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from handbone.config.params import TrainParams
from handbone.utils.errors import Problem, UserError

MOMENTUM = 0.9  # of SGD, Nesterov's


def make_optimizer(model: nn.Module, params: TrainParams, fused: bool = False) -> torch.optim.Optimizer:
    """The optimiser of `params` over the parameters that are not frozen; each group keeps its peak rate as `peak_lr`.

    fused: whether adamw and sgd update all parameters in one kernel. It does not go together with the scaler of fp16, which then leaves it
    to the kernel to skip a step, so that nobody learns of it.

    Weight decay is decoupled for adamw (Loshchilov and Hutter 2019) and lion (Chen et al. 2023), and does not affect biases and norms.
    Raises `UserError` (`train.no_encoder`) as `parameter_groups` does.
    """
    groups = parameter_groups(model, params)
    if params.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=params.lr, momentum=MOMENTUM, nesterov=True, fused=fused or None)
    if params.optimizer == "lion":
        from timm.optim.lion import Lion  # here, as timm takes a second to import

        return Lion(groups, lr=params.lr)
    return torch.optim.AdamW(groups, lr=params.lr, fused=fused or None)


def parameter_groups(model: nn.Module, params: TrainParams) -> list[dict[str, Any]]:
    """Groups of equal learning rate and weight decay. Parameters with a rate of 0 are frozen.

    The rate of the encoder's last stage is `encoder_lr_mult` times lr; that of each other stage is `layer_decay` times the next one's.
    The encoder is what a `SegmentationModel` lists in `encoder_stages`.
    Raises `UserError` (`train.no_encoder`) if one of the two keys is not 1 and the model lists none.
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
    return [{"params": parameters, "lr": rate, "peak_lr": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()]


def _encoder_scales(model: nn.Module, params: TrainParams) -> dict[str, float]:
    """The factor of the learning rate for each of the encoder's parameters, by name."""
    if params.encoder_lr_mult == 1 and params.layer_decay == 1:
        return {}
    stages: list[list[str]] = getattr(model, "encoder_stages", [])
    if not stages:
        place = "params.yaml: train.encoder_lr_mult, train.layer_decay"
        found = f"{params.encoder_lr_mult} and {params.layer_decay} for a network without one"
        raise UserError(
            Problem("train.no_encoder", place, "a network with an encoder", found, "set both to 1.0, or choose another network")
        )
    last = len(stages) - 1
    return {name: params.encoder_lr_mult * params.layer_decay ** (last - number) for number, stage in enumerate(stages) for name in stage}


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set the rate of every group to `factor` times its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def set_train_mode(model: nn.Module, freeze_batch_norm: bool) -> None:
    """Set train mode, except for batch norms whose statistics stay as they are: all of them, or those with frozen parameters."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            trained = [parameter.requires_grad for parameter in module.parameters()]
            if freeze_batch_norm or (trained and not any(trained)):
                module.eval()
