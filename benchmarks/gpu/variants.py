"""The same training step with other settings, its data on the device: what each setting brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch

from benchmarks.gpu.measure import NO_GPU, peak_gib, rate, reset_peak, seconds, wait
from benchmarks.gpu.parameters import Changes, parameters
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup
from benchmarks.gpu.step import ResidentStep, draw_batch


@dataclass(frozen=True)
class _Variant:
    """changes: of params.yaml; options: of `ResidentStep`."""

    changes: Changes = field(default_factory=dict)
    options: Mapping[str, bool] = field(default_factory=dict)
    deterministic: bool = False
    gpu_only: bool = False


VARIANTS = {
    "no_cudnn_benchmark": _Variant(),
    "deterministic": _Variant(deterministic=True, gpu_only=True),
    "fp16": _Variant({"train.precision": "fp16"}, gpu_only=True),
    "float32": _Variant({"train.precision": "no"}, gpu_only=True),
    "channels_first": _Variant(options={"channels_last": False}),
    "no_ema": _Variant(options={"ema": False}),
    "optimizer_not_fused": _Variant(options={"fused": False}, gpu_only=True),
}


def variants(record: Record, setup: Setup) -> None:
    """Images per second and peak memory of each.

    All run without cuDNN's search, which takes half a minute for each: the first one is what the others are compared with, and
    `resident` of the section `steps` is the same with the search.
    """
    torch.backends.cudnn.benchmark = False
    for name, variant in VARIANTS.items():
        if variant.gpu_only and not torch.cuda.is_available():
            record.skip(name, NO_GPU)
        else:
            with record.guard(name):
                record.put(name, _measured(variant, setup))


def _measured(variant: _Variant, setup: Setup) -> dict[str, Any]:
    params = parameters(setup, variant.changes)
    torch.use_deterministic_algorithms(variant.deterministic, warn_only=True)
    step = ResidentStep(params, draw_batch(params), **variant.options)
    start = perf_counter()
    step()
    wait()
    first = perf_counter() - start
    reset_peak()
    each = seconds(step, 1 if setup.tiny else 15, 0 if setup.tiny else 1)
    return rate(params.train.images_per_batch, each) | {"first_step_s": first, "peak_gib": peak_gib()}
