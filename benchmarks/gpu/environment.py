"""Versions, the card, and what it reaches without the project."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmarks.gpu.measure import GIB, NO_GPU, seconds
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup

PACKAGES = (
    "torch", "torchvision", "timm", "accelerate", "segmentation-models-pytorch", "albumentations", "albucore", "opencv-python-headless",
    "numba", "numpy", "pandas", "pydantic",
)  # fmt: skip
SIDE = 8192


def environment(record: Record, _: Setup) -> None:
    """What the machine has."""
    record.put("python", platform.python_version())
    record.put("packages", {name: _version(name) for name in PACKAGES})
    record.put("cores", len(os.sched_getaffinity(0)))
    if not torch.cuda.is_available():
        record.skip("gpu", NO_GPU)
        return
    record.put("gpu", _card())
    with record.guard("speed"):
        record.put("bf16_tflops", _tflops())
        record.put("copy_gb_per_s", _copy_speed())
        record.put("to_gpu_8mb_ms", _transfer_ms())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _card() -> dict[str, object]:
    card = torch.cuda.get_device_properties(0)
    return {
        "name": card.name,
        "gib": card.total_memory / GIB,
        "free_gib": torch.cuda.mem_get_info()[0] / GIB,
        "compute_capability": f"{card.major}.{card.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "native_bf16": torch.cuda.is_bf16_supported(including_emulation=False),
        "count": torch.cuda.device_count(),
    }


def _tflops() -> float:
    matrix = torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16)
    return 2 * SIDE**3 / seconds(lambda: matrix @ matrix, 10, 3) / 1e12


def _copy_speed() -> float:
    """GB/s that are read and written on the GPU."""
    source = torch.empty(GIB, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds(lambda: target.copy_(source), 10, 3) / 1e9


def _transfer_ms() -> dict[str, float]:
    pageable = torch.zeros(8 * 2**20, dtype=torch.uint8)
    pinned = pageable.pin_memory()
    return {
        "pageable": 1e3 * seconds(lambda: pageable.to("cuda"), 20, 3),
        "pinned": 1e3 * seconds(lambda: pinned.to("cuda", non_blocking=True), 20, 3),
    }
