"""An estimate of time and memory from two steps before the training starts; what would take days is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from time import perf_counter

import psutil
import torch
from torch import nn

from handbone.config.params import TrainParams
from handbone.models.device import cpu_is_wanted
from handbone.training.distributed import any_rank
from handbone.utils.errors import Problem, UserError, warn

LARGE = 512  # pixels of the network's longer side, from which on a CPU takes hours for what a GPU does in minutes
CPU_HOURS = 6  # of one fold: five folds one after another are more than a day then
CONTEXT = 2**29  # bytes of a GPU that CUDA and its libraries take beside PyTorch's tensors, measured on an H100


def dry_run(model: nn.Module, step: Callable[[], object], device: torch.device) -> tuple[float, int]:
    """Call `step` (one forward and backward pass) twice -> seconds and peak bytes on the GPU (0 on a CPU: unknown) of the second call.

    The bytes are those that PyTorch reserves: with fragments that it cannot use, which is what a GPU must hold.
    The first call is not counted: cuDNN tries algorithms in it, which takes time and memory once.

    Afterwards, also after an error of `step`, the model's buffers, which batch norm changes, are as before, and there are no gradients.
    """
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        step()
        _synchronize(device)
        if device.type == "cuda":
            torch.cuda.empty_cache()  # otherwise the memory of those trials would stay reserved
            torch.cuda.reset_peak_memory_stats(device)
        start = perf_counter()
        step()
        _synchronize(device)
        seconds = perf_counter() - start
    finally:
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(before[name])
    return seconds, torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0


def needed_bytes(peak: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """What a training takes of the GPU, from the `peak` of its passes: with what CUDA takes, and with the optimizer's two moments.

    A training that resumes has the moments already, so they are in the peak. 0 for a peak of 0, which is that of a CPU.
    """
    if not peak:
        return 0
    return peak + CONTEXT + (0 if optimizer.state else moment_bytes(model))


def format_estimate(seconds: float, memory: int, steps: int, epochs: int) -> str:
    """One line with time, memory and end. seconds: per step; memory: bytes of the GPU; steps: per epoch; epochs: those that are left.

    The time for full-resolution scores is not included.
    """
    epoch = seconds * steps
    needed = f", {memory / 2**30:.1f} GiB of GPU memory" if memory else ""
    whole = f"{epochs} epochs take about {duration(epoch * epochs)}, until {clock_time(epoch * epochs)}"
    return f"about {duration(epoch)} per epoch{needed}; {whole}"


def clock_time(seconds: float) -> str:
    """The weekday and time in so many seconds, e.g. `Thu 16:40`."""
    return f"{datetime.now().astimezone() + timedelta(seconds=seconds):%a %H:%M}"


def memory_bytes(device: torch.device) -> int:
    """The most memory of the GPU that PyTorch has reserved so far; on a CPU what this process uses now. Nothing waits for the GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return int(psutil.Process().memory_info().rss)


def warn_without_gpu(size: int, device: torch.device) -> None:
    """Warn before anything is computed if a training at `size` pixels is about to run on a CPU that nobody has asked for."""
    if device.type == "cpu" and size >= LARGE and not cpu_is_wanted():
        expected, found = f"a GPU to train at {size} px", "none, so the CPU is timed first, if its memory holds a batch"
        warn(Problem("train.no_gpu", "GPU", expected, found, "handbone preset --list shows what each preset is for"))


def check_hours(seconds: float, device: torch.device) -> None:
    """Raise `UserError` (`train.no_gpu`) if a training takes more than `CPU_HOURS` on a CPU that nobody has asked for.

    seconds: of the epochs that are left. So a preset for a GPU, on a machine without one, is an error and not a day of computing.
    """
    if any_rank(device.type == "cpu" and seconds > CPU_HOURS * 3600 and not cpu_is_wanted()):
        expected, found = f"a GPU, or at most {CPU_HOURS} hours per fold on the CPU", f"no GPU, and about {duration(seconds)} on this CPU"
        fix = (
            "train on a machine with a GPU, or choose a smaller train.size, network or train.epochs (handbone preset demo is for CPUs); "
            "to train on this CPU all the same, set CUDA_VISIBLE_DEVICES to an empty text"
        )
        raise UserError(Problem("train.no_gpu", "GPU", expected, found, fix))


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
