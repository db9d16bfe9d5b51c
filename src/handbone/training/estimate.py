"""What a training will take, found out by two steps before it starts; and what to do when its memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import perf_counter

import torch
from torch import nn

from handbone.utils.errors import UserError

ADVICE = (
    "lower train.batch_size and raise train.grad_accum as much, lower train.size or set train.crop, choose a smaller network, "
    "or one that recomputes (model.options, recompute: true)"
)


def probe(model: nn.Module, step: Callable[[], object], device: torch.device) -> tuple[float, int]:
    """Run `step` twice, a forward and a backward pass -> seconds of the second, and bytes at its peak (on a CPU 0: they are not known).

    The model's buffers, which batch norm changes, are as before afterwards, and so are the gradients: none.
    """
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    step()
    _wait(device)
    start = perf_counter()
    step()
    _wait(device)
    seconds = perf_counter() - start
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(kept[name])
    return seconds, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def told(seconds: float, peak: int, model: nn.Module, steps: int, epochs: int) -> str:
    """The line that says what is to be expected; `seconds` a step, `steps` an epoch, scores of the held-out people not counted."""
    epoch = seconds * steps
    end = datetime.now().astimezone() + timedelta(seconds=epoch * epochs)
    moments = 2 * sum(parameter.numel() * parameter.element_size() for parameter in model.parameters() if parameter.requires_grad)
    memory = f", {(peak + moments) / 2**30:.1f} GiB of GPU memory" if peak else ""
    return f"about {_time(epoch)} an epoch{memory}; {epochs} epochs take about {_time(epoch * epochs)}, until {end:%a %H:%M}"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def memory_advice() -> Iterator[None]:
    """Turn running out of memory, on a GPU or not, into a `UserError` that says what helps."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        found = (str(error) or "none left").splitlines()[0]
        raise UserError(f"training: expected it to fit into memory; found {found}; {ADVICE}") from error
