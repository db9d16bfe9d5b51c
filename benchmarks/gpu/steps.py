"""Training at a preset's size: the trainer fed by its loader, the parts of a step, and what else takes time between steps."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.data import TRAIN_FILES, cached_files
from benchmarks.gpu.measure import NO_GPU, Utilisation, device, peak_gib, rate, reset_peak, seconds, wait
from benchmarks.gpu.parameters import parameters
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup
from benchmarks.gpu.step import ResidentStep, draw_batch
from handbone.config.params import Params
from handbone.evaluation.decision import Decision
from handbone.evaluation.model_dice import model_dice
from handbone.inference.predictor import InputSpec
from handbone.models.registry import build_model, spec_from_params
from handbone.training.checkpoint import Checkpoint
from handbone.training.data.dataset import Batch
from handbone.training.data.fold import fold_samples
from handbone.training.data.loader import make_loader
from handbone.training.distributed import make_accelerator
from handbone.training.seeding import set_determinism
from handbone.training.trainer import Trainer

REPEAT = 8.0  # of each image in an epoch, so that one epoch has enough steps
STEPS, WARM, MOST_S = 40, 6, 15.0
TOP_KERNELS = 12
Step = Callable[[Batch], object]


def steps(record: Record, setup: Setup) -> None:
    """Images per second with and without the loader, parts of a step, synchronisations, kernels, checkpoint and validation."""
    params, batch, repeats = parameters(setup), draw_batch(parameters(setup)), 2 if setup.tiny else 20
    set_determinism(params.train.deterministic)
    record.put("batch_size", params.train.batch_size)
    with record.guard("trainer"):
        _measure_trainer(record, setup, params, batch, repeats)
    with record.guard("resident"):
        step = ResidentStep(params, batch)
        record.put("resident", rate(params.train.batch_size, seconds(step, repeats, 2)))
        record.put("parts_ms", step.parts_ms(repeats))
        del step
    with record.guard("validation"):
        record.put("validation_images_per_s", _validation(params, setup.tiny))


def _measure_trainer(record: Record, setup: Setup, params: Params, batch: Batch, repeats: int) -> None:
    """The trainer: `with_loader` minus `same_batch` is the cost of the loader, `same_batch` minus `resident` that of the transfer."""
    trainer, batches = _trainer(params, 2.0 if setup.tiny else REPEAT)

    def step(batch: Batch) -> object:
        return trainer.train_step(batch, 1, 0)  # batch 0 of epoch 1 each time: only the rate and the seed depend on it

    with record.guard("with_loader"):
        record.put("with_loader", _with_loader(step, batches, params, 1 if setup.tiny else WARM, 3 if setup.tiny else STEPS))
    with record.guard("same_batch"):
        with Utilisation() as load:
            each = seconds(lambda: step(batch), repeats, 2)
        record.put("same_batch", rate(params.train.batch_size, each) | {"gpu_percent": load.percent})
    with record.guard("syncs_per_step"):
        record.put("syncs_per_step", _syncs(lambda: step(batch)))
    with record.guard("kernels"):
        record.put("kernels", _kernels(lambda: step(batch)))
    with record.guard("checkpoint"):
        record.put("checkpoint", _checkpoint(trainer))


def _trainer(params: Params, repeat: float) -> tuple[Trainer, Iterator[Batch]]:
    """The trainer of fold 0, and the batches of its first epoch."""
    torch.manual_seed(0)
    model = build_model(spec_from_params(params.model, params.data.classes))
    loader, sampler = make_loader(fold_samples(0, params, TRAIN_FILES).train.assign(rate=repeat), params, 1)
    sampler.epoch = 1
    trainer = Trainer(model, loader, sampler, params.train, [1.0] * len(params.data.classes), 1, make_accelerator(params.train.precision))
    return trainer, iter(loader)


def _with_loader(step: Step, batches: Iterator[Batch], params: Params, warm: int, most: int) -> dict[str, Any]:
    """As a training runs, with the share of time in which the step waits for the next batch."""
    start = perf_counter()
    for _ in range(warm):
        step(next(batches))
    wait()
    first, waited, count = perf_counter() - start, 0.0, 0
    reset_peak()
    with Utilisation() as load:
        start = perf_counter()
        while count < most and perf_counter() - start < MOST_S:
            asked = perf_counter()
            if (batch := next(batches, None)) is None:
                break
            waited += perf_counter() - asked
            step(batch)
            count += 1
        wait()
        taken = perf_counter() - start
    shares = {"steps": count, "loader_wait_ms": 1e3 * waited / count, "gpu_percent": load.percent, "peak_gib": peak_gib()}
    return rate(params.train.batch_size, taken / count) | shares | {"warm_up_s": first}


def _syncs(step: Callable[[], object]) -> dict[str, Any]:
    """How often a step waits for the GPU, by file and line."""
    if not torch.cuda.is_available():
        return {"skipped": NO_GPU}
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return dict(Counter(f"{Path(each.filename).name}:{each.lineno}" for each in caught if "synchroniz" in str(each.message)))


def _kernels(step: Callable[[], object]) -> dict[str, Any]:
    """The number and the time of a step's kernels, and the operations that take most of it, in ms."""
    if not torch.cuda.is_available():
        return {"skipped": NO_GPU}
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        step()
        wait()
    kernels = [event for event in profiler.events() or [] if event.device_type == DeviceType.CUDA]
    longest = sorted(profiler.key_averages(), key=lambda event: -event.self_device_time_total)[:TOP_KERNELS]
    return {
        "count": len(kernels),
        "ms": sum(event.device_time for event in kernels) / 1e3,
        "longest_ms": {event.key[:60]: event.self_device_time_total / 1e3 for event in longest},
    }


def _checkpoint(trainer: Trainer) -> dict[str, float]:
    folder = Path("checkpoint")
    taken = seconds(lambda: trainer.save_checkpoint(Checkpoint(folder)), 2, 0)
    return {"s": taken, "mb": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6}


def _validation(params: Params, tiny: bool) -> float:
    """Images per second of the full-resolution score that picks the best epoch."""
    model = build_model(spec_from_params(params.model, params.data.classes)).eval().to(device())
    spec = InputSpec(params.train.size, params.model.in_channels, params.train.batch_size, device(), params.train.precision)
    files = {f"{copy}_{file.stem}": file for copy in range(1 if tiny else 3) for file in cached_files(4 if tiny else 10)}
    return len(files) / seconds(lambda: model_dice(model, files, spec, params.train.crop, Decision(0.5)), 1)
