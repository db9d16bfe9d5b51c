"""Several processes that share one training: their start, and sums over the samples of all of them.

A loss that is computed from such sums sees one batch, however its samples are divided among the processes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, distributed, nn

from handbone.models.device import choose_device
from handbone.models.precision import autocast_dtype
from handbone.utils.ending import REPORTS
from handbone.utils.errors import Problem, UserError
from handbone.utils.notice import receive_notice
from handbone.utils.parallel import usable_cores

LAUNCH, MEETING = ("RANK", "LOCAL_RANK", "WORLD_SIZE"), ("MASTER_ADDR", "MASTER_PORT")  # that a launcher sets, all of them
CONFIGURATION = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_")  # beginnings of variables that configure accelerate


def launch_distributed(module: str, arguments: Sequence[str], processes: int) -> int:
    """Run `python -m module arguments` in `processes` processes by torchrun -> the exit code; that of the first failure if one fails.

    An OMP_NUM_THREADS already set is kept; otherwise the processes divide the cores among them. An error that all processes have in
    common is printed once. Raises `UserError` (train.gpus) if there are GPUs, but fewer than processes.
    """
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    _check_gpus(processes)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // processes)))
    with TemporaryDirectory() as reports:
        os.environ[REPORTS] = reports
        try:  # standalone: torchrun picks a free port, as the trainings of other folds may run on this machine
            torchrun.main(["--standalone", "--nproc_per_node", str(processes), "-m", module, *arguments])
        except ChildFailedError as failed:  # the process has printed its error already
            code = int(failed.get_first_failure()[1].exitcode)
            return code if code > 0 else 128 - code  # negative: the signal that killed it
        except SignalException as stopped:
            return 128 + stopped.sigval
        finally:
            del os.environ[REPORTS]
            receive_notice(Path(reports))
    return 0


def _check_gpus(processes: int) -> None:
    gpus = torch.cuda.device_count() if choose_device().type == "cuda" else processes
    if processes > gpus:
        place, expected = "params.yaml: machine.gpus_per_fold", f"at most {gpus}, the number of GPUs that PyTorch can use"
        raise UserError(Problem("train.gpus", place, expected, str(processes), "lower it, or check CUDA_VISIBLE_DEVICES"))


def is_launched() -> bool:
    """Whether torchrun or `accelerate launch` has started this process as one of several.

    Raises `UserError` (train.launch) if only some of a launcher's variables are set: the process would wait for others, or train alone.
    """
    present = [name for name in LAUNCH if name in os.environ]
    if not present:
        return False
    missing = [name for name in (*LAUNCH, *MEETING) if name not in os.environ]
    if missing:
        expected, fix = f"all variables of a launcher or none ({', '.join(missing)} missing)", f"unset {' '.join(present)}"
        raise UserError(Problem("train.launch", f"environment: {', '.join(present)}", expected, _values(present), fix))
    wrong = [name for name in LAUNCH if not os.environ[name].isdecimal()]
    if wrong or int(os.environ["RANK"]) >= int(os.environ["WORLD_SIZE"]):
        raise UserError(
            Problem("train.launch", f"environment: {', '.join(LAUNCH)}", "RANK below WORLD_SIZE", _values(LAUNCH), "unset them")
        )
    return True


def _values(names: Sequence[str]) -> str:
    return ", ".join(f"{name}={os.environ[name]}" for name in names)


def make_accelerator(precision: str, tracker: str | None = None) -> Accelerator:
    """The accelerator that places models on devices and connects processes.

    precision: as `train.precision`; tracker: as `machine.tracker`, which then starts it.

    Variables of the environment do not change it: accelerate would take precision, gradient accumulation, compilation, sharding and more
    from them, and params.yaml would not show it. So they are removed.
    """
    for name in [name for name in os.environ if name.startswith(CONFIGURATION)]:
        del os.environ[name]
    device = choose_device()
    dtype = autocast_dtype(precision, device)
    name = {None: "no", torch.float16: "fp16", torch.bfloat16: "bf16"}[dtype]
    # in some networks no output depends on some of the parameters; without this, DDP would wait for their gradients for ever
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    many_on_cpu = is_launched() and device.type == "cpu"  # accelerate does not detect this itself
    return Accelerator(cpu=many_on_cpu, mixed_precision=name, kwargs_handlers=[unused], log_with=tracker, project_dir=".")


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
