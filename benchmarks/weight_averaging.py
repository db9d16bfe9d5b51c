"""The moving average of a network's weights after each step."""

from __future__ import annotations

import copy

import torch
from torch import nn

from benchmarks.scene import Scene
from benchmarks.table import ResultRow, check
from benchmarks.timing import interleaved, peak_mb
from handbone.models.registry import build_model
from handbone.models.spec import ModelSpec
from handbone.training.weight_averaging import Ema

DECAY = 0.999


def ema(scene: Scene) -> list[ResultRow]:
    """Baseline: the usual loop over both state_dicts."""
    torch.manual_seed(0)
    model = build_model(ModelSpec("Unet", "tu-tf_efficientnetv2_s", 1, scene.classes)).train()
    average, plain = Ema(model, DECAY), copy.deepcopy(model).requires_grad_(False)
    steps = 0

    def usual() -> None:
        nonlocal steps
        steps += 1
        _lerp_each(plain, model, 1 - min(DECAY, (1 + steps) / (10 + steps)))

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    slow, fast = interleaved((usual, average.update), scene.rounds(15), (1, 1))
    pairs = zip(plain.state_dict().values(), average.model.state_dict().values(), strict=True)
    check(all(torch.equal(one, other) for one, other in pairs), "ema: the weights")
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    note = f"{len(model.state_dict())} tensors, {millions:.0f} M parameters, one thread; the same bits"
    return [ResultRow("ema", slow, fast, peak_mb(average.update), "", note)]


@torch.no_grad()
def _lerp_each(average: nn.Module, model: nn.Module, weight: float) -> None:
    for averaged, current in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if averaged.dtype.is_floating_point:
            averaged.lerp_(current, weight)
        else:
            averaged.copy_(current)
