"""The largest batch that a card of 24 or 80 GB takes, on whatever card this is."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu.measure import GIB, NO_GPU, peak_gib, rate, reset_peak, seconds
from benchmarks.gpu.parameters import parameters
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup
from benchmarks.gpu.step import ResidentStep, draw_batch

CARD_GIB = {"gpu24": 22.9, "gpu80": 78.4}  # of the card that the preset is for, less what CUDA itself takes
BATCHES = {"gpu24": range(2, 33, 2), "gpu80": range(2, 17)}


def memory(record: Record, setup: Setup) -> None:
    """Peak memory and images per second by batch size, up to the first that does not fit."""
    preset_batch = parameters(setup).train.images_per_batch
    sizes = sorted({preset_batch, *BATCHES[setup.preset]})
    torch.backends.cudnn.benchmark = False  # its trials take memory that a training does not need afterwards
    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory / GIB
        torch.cuda.set_per_process_memory_fraction(min(1.0, CARD_GIB[setup.preset] / total))
        record.put("limit_gib", min(CARD_GIB[setup.preset], total))
    else:
        record.skip("limit_gib", NO_GPU)
        sizes = [preset_batch]
    batches: dict[int, Any] = {}
    for size in sizes:
        try:
            batches[size] = _measured(size, setup)
        except torch.OutOfMemoryError as error:
            record.put("first_too_large", {"batch": size, "why": str(error)[:200]})
            break
        record.put("batches", batches)
    record.put("largest_batch", max(batches, default=0))
    record.put("preset_batch_fits", preset_batch in batches)


def _measured(size: int, setup: Setup) -> dict[str, Any]:
    params = parameters(setup, {"train.batch_size": size})
    reset_peak()
    step = ResidentStep(params, draw_batch(params))
    each = seconds(step, 1, 1)
    return rate(size, each) | {"peak_gib": peak_gib()}
