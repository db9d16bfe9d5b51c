"""Optimisers, and the learning rate of each parameter."""

from typing import Any

import pytest
import torch
from torch import nn

from conftest import Fails, build
from handbone.config.params import TrainParams
from handbone.training.optim import make_optimizer, parameter_groups, set_rate
from training_params import PARAMS


def params(**changes: Any) -> TrainParams:
    return TrainParams.model_validate(PARAMS.model_dump() | changes)


def rates(model: nn.Module, changed: TrainParams) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)]: group["lr"] for group in parameter_groups(model, changed) for parameter in group["params"]}


@pytest.mark.parametrize("name", ["adamw", "lion", "sgd"])
def test_every_optimiser_minimises_a_parabola(name: str) -> None:
    model = nn.Linear(3, 1)
    optimizer = make_optimizer(model, params(optimizer=name, lr=0.05))
    for _ in range(60):
        loss = (model.weight - 1).square().sum() + model.bias.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.2


def test_weight_decay_does_not_affect_biases_and_norms() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    decayed = {id(parameter): group["weight_decay"] for group in parameter_groups(model, params()) for parameter in group["params"]}
    assert [decayed[id(parameter)] for parameter in model.parameters()] == [0.01, 0, 0, 0]


def test_a_factor_scales_the_peak_rate_of_every_group() -> None:
    model = build("Unet", "resnet18", in_channels=1, classes=2)
    optimizer = make_optimizer(model, params(encoder_lr_mult=0.1))
    set_rate(optimizer, 0.5)
    assert {round(group["lr"], 8) for group in optimizer.param_groups} == {0.005, 0.0005}


@pytest.mark.parametrize(
    ("arch", "encoder", "first", "last"),
    [
        ("Unet", "resnet18", "network.encoder.conv1.weight", "network.encoder.layer4.1.conv2.weight"),
        ("Unet", "tu-resnet10t", "network.encoder.model.conv1.0.weight", "network.encoder.model.layer4.0.conv1.weight"),
        ("Segformer", "mit_b0", "network.encoder.patch_embed1.proj.weight", "network.encoder.block4.0.attn.q.weight"),
        ("FCN_ResNet50", None, "network.network.backbone.conv1.weight", "network.network.backbone.layer4.0.conv1.weight"),
    ],
)
def test_the_rate_decays_from_each_stage_of_the_encoder_to_the_stage_before_it(
    arch: str, encoder: str | None, first: str, last: str
) -> None:
    model = build(arch, encoder, in_channels=1, classes=2)
    found = rates(model, params(encoder_lr_mult=0.5, layer_decay=0.1))
    assert found[last] == pytest.approx(0.01 * 0.5)
    assert found[first] == pytest.approx(0.01 * 0.5 * 0.1**3)
    assert len(found) == len(list(model.parameters()))
    assert {rate for name, rate in found.items() if "decoder" in name or "head" in name or "classifier" in name} == {0.01}


def test_an_encoder_can_be_frozen() -> None:
    model = build("Unet", "resnet18", in_channels=1, classes=2)
    found = rates(model, params(encoder_lr_mult=0.0))
    assert not any("encoder" in name for name in found) and found
    assert not any(parameter.requires_grad for parameter in model.network.encoder.parameters())


def test_a_network_without_an_encoder_is_refused(fails: Fails) -> None:
    with fails("train.no_encoder", "train.encoder_lr_mult"):
        make_optimizer(build("UNet2015", widths=[2] * 5), params(encoder_lr_mult=0.1))
    assert torch.optim.AdamW is type(make_optimizer(nn.Conv2d(1, 2, 3), params()))
