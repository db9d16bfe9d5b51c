"""The estimate before a training, and advice if it does not fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from handbone.training.estimate import CONTEXT, check_hours, dry_run, format_estimate, needed_bytes, warn_without_gpu

if TYPE_CHECKING:
    from conftest import Fails

CPU, DAY = torch.device("cpu"), 24 * 3600.0


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


class Reserved:
    """Memory as PyTorch's allocator reserves it: it grows with a step, and what is free stays reserved until it is told otherwise."""

    now = peak = used = 0

    def step(self, gib: int) -> None:
        self.now = max(self.now, gib)
        self.peak = max(self.peak, self.now)

    def empty_cache(self) -> None:
        self.now = self.used

    def reset_peak_memory_stats(self, device: torch.device) -> None:
        self.peak = self.now

    def max_memory_reserved(self, device: torch.device) -> int:
        return self.peak


def test_trials_of_the_first_step_are_not_in_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    reserved, needed = Reserved(), iter([9, 3])
    for name in ("empty_cache", "reset_peak_memory_stats", "max_memory_reserved"):
        monkeypatch.setattr(torch.cuda, name, getattr(reserved, name))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    assert dry_run(nn.Linear(1, 1), lambda: reserved.step(next(needed)), torch.device("cuda"))[1] == 3


def test_the_line_has_time_and_memory() -> None:
    line = format_estimate(1.5, 9 * 2**29, 40, 100)
    assert "60 s per epoch" in line and "4.5 GiB" in line and "100 epochs take about 1 h 40 min" in line
    on_a_cpu = format_estimate(0.05, 0, 40, 10)
    assert "GiB" not in on_a_cpu and "2 s per epoch" in on_a_cpu


def test_the_moments_of_a_training_that_resumes_are_not_counted_twice() -> None:
    model, peak = nn.Linear(3, 5, bias=False), 1000
    optimizer = torch.optim.AdamW(model.parameters())
    assert needed_bytes(peak, model, optimizer) == peak + CONTEXT + 2 * 3 * 5 * 4
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert needed_bytes(peak, model, optimizer) == peak + CONTEXT
    assert needed_bytes(0, model, optimizer) == 0


def test_a_day_on_a_cpu_is_an_error_and_hours_on_it_are_not(monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with fails("train.no_gpu", "GPU") as error:
        check_hours(DAY, CPU)
    assert "24 h" in error.value.problems[0].found
    check_hours(3600.0, CPU)
    check_hours(DAY, torch.device("cuda"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # somebody asks for the CPU
    check_hours(DAY, CPU)


def test_large_images_on_a_cpu_are_a_warning_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    warn_without_gpu(1024, CPU)
    assert "a GPU to train at 1024 px" in capsys.readouterr().err
    warn_without_gpu(128, CPU)
    warn_without_gpu(1024, torch.device("cuda"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    warn_without_gpu(1024, CPU)
    assert not capsys.readouterr().err
