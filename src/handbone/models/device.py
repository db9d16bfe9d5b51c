"""The device that a stage computes on, and the arithmetic there: what the environment says about it is checked, replaced or recorded."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import torch

from handbone.utils.errors import Problem, UserError

# libraries would round float32 to fewer bits because of these, which no parameter says and no file records
ROUNDING = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE")
ALLOCATOR = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")  # how PyTorch reserves memory of a GPU: the name before torch 2.10, and since
NO_GPU = ("", "-1", "NoDevFiles")  # values of CUDA_VISIBLE_DEVICES that ask for the CPU


def choose_device() -> torch.device:
    """The GPU if there is one, else the CPU; with the same float32 arithmetic whatever the environment says.

    With a GPU, PyTorch uses one thread for what it computes on the CPU, which is little: the threads of several trainings on one machine
    would take the cores from each other. Memory of the GPU is reserved in segments that grow, which leaves less of it in unusable pieces,
    unless the environment configures that.
    Raises `UserError` (machine.gpu) if there is a GPU, or CUDA_VISIBLE_DEVICES names one, that PyTorch cannot use: the CPU would take days.
    """
    for name in ROUNDING:
        os.environ.pop(name, None)
    torch.set_float32_matmul_precision("highest")
    if torch.cuda.is_available():
        torch.set_num_threads(1)
        if not any(name in os.environ for name in ALLOCATOR):  # PyTorch reads it when it reserves memory for the first time
            os.environ[ALLOCATOR[torch.__version__ >= "2.10"]] = "expandable_segments:True"
        return torch.device("cuda")
    _check_that_none_is_expected(os.environ.get("CUDA_VISIBLE_DEVICES"))
    return torch.device("cpu")


@lru_cache
def copy_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of a GPU for copies beside its work: always the same one, as PyTorch keeps the memory of each stream for that stream."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def describe_machine(device: torch.device, processes: int = 1) -> dict[str, str | int]:
    """What decides the last bits of a result, beside parameters, data and code."""
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else f"cpu {torch.backends.cpu.get_cpu_capability()}"
    return {"device": name, "processes": processes, "threads": torch.get_num_threads(), "torch": torch.__version__}


def cpu_is_wanted() -> bool:
    """Whether CUDA_VISIBLE_DEVICES says that no GPU is to be used."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible is not None and visible.strip() in NO_GPU


def _check_that_none_is_expected(visible: str | None) -> None:
    if cpu_is_wanted():
        return
    if visible is None and (torch.version.cuda is None or not _gpu_files()):
        return
    found = f"{_reason()}, with CUDA_VISIBLE_DEVICES={visible}" if visible is not None else _reason()
    fix = "correct the driver or CUDA_VISIBLE_DEVICES; to compute on the CPU, set CUDA_VISIBLE_DEVICES to an empty text"
    raise UserError(Problem("machine.gpu", "GPU", "a GPU that PyTorch can use", found, fix))


def _gpu_files() -> list[Path]:
    """The files by which a driver of NVIDIA offers its GPUs."""
    return sorted(Path("/dev").glob("nvidia[0-9]*"))


def _reason() -> str:
    """Why PyTorch cannot use a GPU, in its own words."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError, AttributeError) as error:
        return (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
    return "no GPU that it can see"
