"""A counted step is what a real one takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from conftest import Fails, build
from handbone.config.params import Params
from handbone.planning.cards import CARDS, Card
from handbone.planning.cost import IMAGES, StepCost, step_cost
from handbone.training.trial import forward_backward

PARAMS = Params().model_copy(update={"data": Params().data.model_copy(update={"classes": ["a", "b"]})})
SMALL: dict[str, Any] = {"decoder_channels": [16, 16, 8, 8, 8]}


def unet(encoder: str = "resnet18") -> nn.Module:
    return build("Unet", encoder, in_channels=1, classes=2, **SMALL).train()


def test_flops_are_those_that_pytorch_counts_in_a_real_step() -> None:
    model = unet()
    with FlopCounterMode(display=False) as counter:
        forward_backward(model, PARAMS, (IMAGES, 64, 64), torch.device("cpu"), None)
    assert step_cost(model, PARAMS, 64, half=False).flops.sum() == counter.get_total_flops()


def test_the_backward_pass_of_grouped_convolutions_is_twice_the_forward_pass() -> None:
    """PyTorch's own count ignores the groups there."""

    def flops(groups: int) -> float:
        model = nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=groups), nn.Conv2d(8, 2, 1))
        return float(step_cost(model, PARAMS, 32, half=False).flops.sum())

    dense = 3 * 2 * IMAGES * 32 * 32 * 8 * 8 * 9
    assert flops(1) - flops(8) == dense * 7 / 8


@pytest.mark.parametrize("half", [False, True])
def test_activations_hold_what_autograd_saves_in_a_real_step(half: bool) -> None:
    """At the peak there is also what the step is computing, but not much more."""
    model, saved = unet(), dict[int, int]()
    known = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in known:
            saved[place] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(save, lambda tensor: tensor):
        forward_backward(model, PARAMS, (IMAGES, 128, 128), torch.device("cpu"), torch.bfloat16 if half else None)
    assert 0.9 * sum(saved.values()) < step_cost(model, PARAMS, 128, half).activations * IMAGES < 1.4 * sum(saved.values())


def test_activations_grow_with_the_area() -> None:
    model = unet()
    small, large = (step_cost(model, PARAMS, side, half=False) for side in (256, 512))
    assert large.activations == pytest.approx(4 * small.activations, rel=0.05) and large.fixed == small.fixed


def test_the_model_is_as_it_was() -> None:
    model = unet()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    step_cost(model, PARAMS, 64, half=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_step_takes_as_long_as_the_slower_of_card_and_host() -> None:
    cost = step_cost(unet(), PARAMS, 256, half=True)
    trials = {name: cost.on(CARDS[name], True, 32) for name in ("t4", "h100")}
    assert trials["t4"].seconds > trials["h100"].seconds and trials["t4"].memory == trials["h100"].memory
    assert cost.on(CARDS["h100"], True, 1).seconds == cost.on(CARDS["h100"], True, 2).seconds  # the host launches the same kernels
    assert cost.on(Card("some", 2**34), True, 2).seconds is None
    assert cost.on(CARDS["t4"], False, 32).seconds > trials["t4"].seconds


def test_a_network_that_looks_at_its_values_cannot_be_counted(fails: Fails) -> None:
    class Looks(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.expand(-1, 2, -1, -1) * (2.0 if images.sum().item() > 0 else 1.0)

    with fails("plan.model", "params.yaml: model at 64 px"):
        step_cost(Looks(), PARAMS, 64, half=False)


def test_a_cost_is_linear_in_the_images() -> None:
    cost = step_cost(unet(), PARAMS, 64, half=True)
    one, two, three = (cost.on(CARDS["t4"], True, images).memory for images in (1, 2, 3))
    assert isinstance(cost, StepCost) and three - two == pytest.approx(two - one)
