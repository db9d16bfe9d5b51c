"""Several processes that share one training: their start, and sums over the samples of all of them.

A loss that is computed from such sums sees one batch, however its samples are divided among the processes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, distributed, nn

from handbone.models.precision import autocast_dtype
from handbone.training.preemption import PREEMPTED_EXIT_CODE


def launch_distributed(module: str, arguments: Sequence[str], processes: int) -> int:
    """Run `python -m module arguments` in `processes` processes by torchrun -> the exit code; that of the first failure if one fails.

    An OMP_NUM_THREADS already set is kept; otherwise the processes divide the cores among them.
    """
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    try:  # standalone: torchrun picks a free port, as the trainings of other folds may run on this machine
        torchrun.main(["--standalone", "--nproc_per_node", str(processes), "-m", module, *arguments])
    except ChildFailedError as failed:  # the process has printed its error already
        return next((failure.exitcode for failure in failed.failures.values()), 1)
    except SignalException:
        return PREEMPTED_EXIT_CODE
    return 0


def is_launched() -> bool:
    """Whether torchrun or `accelerate launch` has started this process."""
    return "WORLD_SIZE" in os.environ


def make_accelerator(precision: str) -> Accelerator:
    """The accelerator that places models on devices and connects processes. precision: as `train.precision`."""
    dtype = autocast_dtype(precision, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    name = {None: "no", torch.float16: "fp16", torch.bfloat16: "bf16"}[dtype]
    # in some networks no output depends on some of the parameters; without this, DDP would wait for their gradients for ever
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    many_on_cpu = is_launched() and not torch.cuda.is_available()  # accelerate does not detect this itself
    return Accelerator(cpu=many_on_cpu, mixed_precision=name, kwargs_handlers=[unused])


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all processes of torch.distributed; the tensor itself where it is not initialised.

    All processes must call it equally often and in the same order. The gradient is summed over the processes as well.
    So where every process computes the same loss from such sums, the gradient is too large by world_size, which DDP's averaging cancels:
    the result is exactly the gradient of one process with all samples.
    """
    if not _is_initialized():
        return tensor
    from torch.distributed.nn.functional import all_reduce  # here, because a torch built without distributed cannot import it

    total: Tensor = all_reduce(tensor)  # type: ignore[no-untyped-call]
    return total


def weighted_sum(values: Tensor, weights: Tensor) -> Tensor:
    """(N, C) values of samples, (N,) their weights -> (C,) sum over the samples of all processes."""
    return all_reduce_sum((weights[:, None] * values).sum(0))


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """(N, C) values of samples, (N,) their weights -> (C,) mean over the samples of all processes; 0 where all weights are 0."""
    sums = all_reduce_sum(torch.cat([(weights[:, None] * values).sum(0), weights.sum()[None]]))  # joined: one message instead of two
    return sums[:-1] / sums[-1].clamp_min(torch.finfo(sums.dtype).eps)


def any_rank(flag: bool) -> bool:
    """Whether `flag` is true in any process, so that all processes decide the same."""
    if not _is_initialized():
        return flag
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    count = torch.tensor(float(flag), device=device)
    distributed.all_reduce(count)
    return bool(count > 0)


@torch.no_grad()
def broadcast_buffers(model: nn.Module) -> None:
    """Copy the buffers of the first process to all others: the batch-norm statistics of each process are of different images."""
    if _is_initialized():
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)


def _is_initialized() -> bool:
    return distributed.is_available() and distributed.is_initialized()
