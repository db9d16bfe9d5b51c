"""Averages of a model's weights."""

import torch
from torch import nn

from handbone.training.weight_averaging import Ema, Swa


def test_the_moving_average_follows_its_rule() -> None:
    model = nn.BatchNorm1d(2)
    ema = Ema(model, 0.5)
    expected = model.weight.detach().clone()
    for step in range(1, 30):
        model.weight.data += 1
        model.num_batches_tracked += 1
        ema.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    assert torch.allclose(ema.model.weight, expected)
    assert ema.model.num_batches_tracked == 29


def test_without_decay_the_average_equals_the_model() -> None:
    model = nn.Linear(2, 2)
    ema = Ema(model, None)
    model.weight.data += 3
    ema.update()
    assert torch.equal(ema.model.weight, model.weight)


def test_the_average_is_a_copy_and_not_trained() -> None:
    model = nn.Linear(2, 2)
    ema = Ema(model, 0.9)
    before = ema.model.weight.clone()
    model.weight.data += 3
    assert torch.equal(ema.model.weight, before)
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())


def test_swa_is_the_mean_of_the_models_it_has_seen() -> None:
    model = nn.BatchNorm1d(2)
    swa = Swa(model)
    for value in (1.0, 2.0, 6.0):
        model.weight.data.fill_(value)
        model.running_mean.fill_(2 * value)
        model.num_batches_tracked += 1
        swa.update()
    assert torch.allclose(swa.model.weight, torch.tensor(3.0)) and torch.allclose(swa.model.running_mean, torch.tensor(6.0))
    assert swa.model.num_batches_tracked == 3 and swa.count == 3


def test_it_is_bit_for_bit_the_rule_applied_to_each_tensor() -> None:
    """Also tensors of no, one and many dimensions, and channels_last ones."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1)).to(memory_format=torch.channels_last)
    ema, expected = Ema(model, 0.9), {name: value.clone() for name, value in model.state_dict().items()}
    for step in range(1, 6):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model(torch.rand(2, 3, 8, 8))  # moves the statistics and the counter
        ema.update()
        weight = 1 - min(0.9, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            expected[name] = torch.lerp(expected[name], value, weight) if value.dtype.is_floating_point else value.clone()
    assert all(torch.equal(value, expected[name]) for name, value in ema.model.state_dict().items())
