"""Sums and means over the samples of all processes: a loss made of them sees one batch, however it is dealt out."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn


def summed(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all processes of torch.distributed; the tensor itself where it is not initialised.

    All processes have to call it, as often and in the same order. The gradient is summed over the processes as well. So where each of them
    computes the same loss from such sums, its gradient is as many times too long as there are processes, and DDP, which averages
    gradients, gives exactly what one process with all samples has.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return tensor
    from torch.distributed.nn.functional import all_reduce  # here, because a torch built without distributed cannot import it

    total: Tensor = all_reduce(tensor)  # type: ignore[no-untyped-call]
    return total


def weighted_sum(values: Tensor, weights: Tensor) -> Tensor:
    """(N, C) values of samples, (N,) their weights -> (C,) sum over the samples of all processes."""
    return summed((weights[:, None] * values).sum(0))


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """(N, C) values of samples, (N,) their weights -> (C,) mean over the samples of all processes; 0 where all weigh 0."""
    sums = summed(torch.cat([(weights[:, None] * values).sum(0), weights.sum()[None]]))  # joined: one message instead of two
    return sums[:-1] / sums[-1].clamp_min(torch.finfo(sums.dtype).eps)


def any_of(due: bool) -> bool:
    """Whether it is true in any process, so that all do the same."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return due
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    flag = torch.tensor(float(due), device=device)
    distributed.all_reduce(flag)
    return bool(flag > 0)


@torch.no_grad()
def same_buffers(model: nn.Module) -> None:
    """Give all processes the first one's buffers: batch norm's statistics are each process's own."""
    if distributed.is_available() and distributed.is_initialized():
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)
