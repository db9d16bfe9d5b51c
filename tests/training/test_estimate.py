"""The estimate before a training, and advice if it does not fit into memory."""

import torch
from torch import nn

from handbone.training.estimate import dry_run, format_estimate


def test_a_dry_run_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    calls = []

    def step() -> None:
        calls.append(1)
        model(torch.rand(2, 1, 8, 8)).square().sum().backward()

    seconds, peak = dry_run(model, step, torch.device("cpu"))
    assert len(calls) == 2 and seconds > 0 and peak == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_line_has_time_and_memory() -> None:
    line = format_estimate(1.5, 3 * 2**30, nn.Linear(2**13, 2**14, bias=False), 40, 100)
    assert "60 s per epoch" in line and "4.0 GiB" in line and "100 epochs take about 1 h 40 min" in line
    on_a_cpu = format_estimate(0.05, 0, nn.Linear(1, 1), 40, 10)
    assert "GiB" not in on_a_cpu and "2 s per epoch" in on_a_cpu
