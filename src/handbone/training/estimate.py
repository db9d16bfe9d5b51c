"""An estimate of time and memory from two steps before the training starts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from time import perf_counter

import torch
from torch import nn

from handbone.config.params import TrainParams

CONTEXT = 2**29  # bytes of a GPU that CUDA and its libraries take beside PyTorch's tensors, measured on an H100


def dry_run(model: nn.Module, step: Callable[[], object], device: torch.device) -> tuple[float, int]:
    """Call `step` (one forward and backward pass) twice -> seconds and peak bytes on the GPU (0 on a CPU: unknown) of the second call.

    The bytes are those that PyTorch reserves: with fragments that it cannot use, which is what a GPU must hold.
    The first call is not counted: cuDNN tries algorithms in it, which takes time and memory once.

    Afterwards the model's buffers, which batch norm changes, are as before, and there are no gradients.
    """
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    step()
    _synchronize(device)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # otherwise the memory of those trials would stay reserved
        torch.cuda.reset_peak_memory_stats(device)
    start = perf_counter()
    step()
    _synchronize(device)
    seconds = perf_counter() - start
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(before[name])
    return seconds, torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0


def format_estimate(seconds: float, peak: int, model: nn.Module, steps: int, epochs: int) -> str:
    """One line with time, memory and end. seconds: per step; peak: bytes; steps: per epoch; epochs: those that are left.

    The optimizer's two moments and what CUDA itself takes are added to the peak. The time for full-resolution scores is not included.
    """
    epoch = seconds * steps
    end = datetime.now().astimezone() + timedelta(seconds=epoch * epochs)
    memory = f", {(peak + moment_bytes(model) + CONTEXT) / 2**30:.1f} GiB of GPU memory" if peak else ""
    return f"about {duration(epoch)} per epoch{memory}; {epochs} epochs take about {duration(epoch * epochs)}, until {end:%a %H:%M}"


def moment_bytes(model: nn.Module) -> int:
    """Of the optimizer's two moments of each weight that is trained."""
    return 2 * sum(parameter.numel() * parameter.element_size() for parameter in model.parameters() if parameter.requires_grad)


def state_bytes(model: nn.Module, params: TrainParams) -> int:
    """What a training needs on the device whatever its images are: the weights and their averages, gradients and moments."""
    copies, moments = 2 + (params.swa_epochs is not None), moment_bytes(model)
    return copies * sum(int(tensor.nbytes) for tensor in model.state_dict().values()) + moments + moments // 2


def duration(seconds: float) -> str:
    """`seconds` in words, e.g. `1 h 40 min`."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
