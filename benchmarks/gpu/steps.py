"""Training at a preset's size: the trainer fed by its loader, the parts of a step, and what else takes time between steps."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import repeat
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.data import TRAIN_FILES, cached_files
from benchmarks.gpu.measure import NO_GPU, Utilisation, device, peak_gib, rate, reset_peak, seconds, wait
from benchmarks.gpu.parameters import parameters
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup
from benchmarks.gpu.step import ResidentStep, draw_batch
from handbone.cache.sample import read_masks
from handbone.config.params import Params
from handbone.evaluation.decision import Decision
from handbone.evaluation.model_dice import model_dice
from handbone.inference.predictor import InputSpec
from handbone.masks.coverage import coverage
from handbone.models.registry import build_model, spec_from_params
from handbone.training.checkpoint import Checkpoint
from handbone.training.checkpoint_writer import CheckpointWriter
from handbone.training.data.dataset import Batch
from handbone.training.data.fold import fold_samples
from handbone.training.data.loader import make_loader
from handbone.training.distributed import make_accelerator
from handbone.training.seeding import kernels_without_search, set_determinism
from handbone.training.staging import StagedBatch, stage, staged
from handbone.training.trainer import Trainer

REPEAT = 20.0  # of each image in an epoch, so that one epoch has enough steps
STEPS, WARM, MOST_S = 30, 3, 8.0
TOP_KERNELS = 12
Step = Callable[[StagedBatch], object]


def steps(record: Record, setup: Setup) -> None:
    """Images per second with and without the loader, parts of a step, synchronisations, kernels, checkpoint and validation.

    What matters most comes first, and torch.compile, which takes minutes, last: the section may be killed at its limit.
    """
    params = parameters(setup)
    batch, repeats = draw_batch(params), 1 if setup.tiny else 20
    set_determinism(params.train.deterministic)
    record.put("batch_size", params.train.images_per_batch)
    start = perf_counter()
    trainer, batches = _trainer(params, 3.0 if setup.tiny else REPEAT)
    record.put("start_s", perf_counter() - start)
    measure = _Measurements(trainer, batches, batch, params, setup.tiny)
    with record.guard("with_loader"):
        record.put("first", measure.first())
        record.put("with_loader", measure.with_loader())
    with record.guard("resident"):
        resident = ResidentStep(params, batch)
        record.put("resident", rate(params.train.images_per_batch, seconds(resident, repeats, 2)))
        record.put("parts_ms", resident.parts_ms(max(1, repeats // 4)))
        del resident
    parts: dict[str, Callable[[], object]] = {
        "same_batch": lambda: measure.same_batch(repeats),
        "syncs_per_step": measure.syncs,
        "kernels": measure.kernels,
        "validation": lambda: _validation(params, setup.tiny),
        "checkpoint": lambda: _checkpoint(trainer),
    }
    for name, part in parts.items():
        with record.guard(name):
            record.put(name, part())
    if setup.compiled:
        with record.guard("compiled"):
            _compiled(record, trainer, measure, params, repeats)


def _compiled(record: Record, trainer: Trainer, measure: _Measurements, params: Params, repeats: int) -> None:
    """The same step compiled; each figure is recorded as soon as there is one."""
    start, said = perf_counter(), StringIO()
    with redirect_stdout(said):
        trainer.compile("training")
    record.put("compiler", {"s": perf_counter() - start, "says": said.getvalue().splitlines()})
    record.put("compiled_same_batch", measure.same_batch(repeats))
    record.put("compiled_first", measure.first())
    record.put("compiled_with_loader", measure.with_loader())
    record.put("compiled_syncs_per_step", measure.syncs())
    record.put("compiled_kernels", measure.kernels())
    record.put("compiled_smaller_batch_s", measure.other_batch(draw_batch(_with_batch(params, params.train.images_per_batch - 1))))


def _with_batch(params: Params, images: int) -> Params:
    return params.model_copy(update={"train": params.train.model_copy(update={"batch_size": images})})


class _Measurements:
    """One trainer, fed by its loader and with one batch again and again: the difference is the cost of the loader.

    `same_batch` minus `resident` of the section is the cost of the transfer to the GPU and of the schedule.
    """

    def __init__(self, trainer: Trainer, batches: Iterator[StagedBatch], batch: Batch, params: Params, tiny: bool) -> None:
        self._trainer, self._batches, self._same = trainer, batches, staged(repeat(batch), device())
        self._size, self._tiny = params.train.images_per_batch, tiny

    def _step(self, batch: StagedBatch) -> object:
        return self._trainer.train_step(batch, 1, 0)  # batch 0 of epoch 1 each time: only the rate and the seed depend on it

    def _same_step(self) -> object:
        return self._step(next(self._same))

    def first(self) -> dict[str, float]:
        """batch_s: the start of the workers; step_s: with cuDNN's search, or the compiler."""
        start = perf_counter()
        first = next(self._batches)
        loaded = perf_counter()
        self._step(first)
        wait()
        return {"batch_s": loaded - start, "step_s": perf_counter() - loaded}

    def with_loader(self) -> dict[str, Any]:
        """As a training runs. warm_up_s: of the steps after the first one that are not timed."""
        reset_peak()
        start = perf_counter()
        for _ in range(1 if self._tiny else WARM):
            self._step(next(self._batches))
        wait()
        warm = {"warm_up_s": perf_counter() - start}
        return _timed_steps(self._step, self._batches, self._size, 1 if self._tiny else STEPS) | warm

    def same_batch(self, repeats: int) -> dict[str, Any]:
        """Without the loader."""
        with Utilisation() as load:
            each = seconds(self._same_step, repeats, 2)
        return rate(self._size, each) | {"gpu_percent": load.percent}

    def other_batch(self, batch: Batch) -> float:
        """Seconds of the first step with a batch of another size, as at the end of most epochs: cuDNN's search starts again."""
        start = perf_counter()
        self._step(stage(batch, device()))
        wait()
        return perf_counter() - start

    def syncs(self) -> dict[str, Any]:
        """How often a step waits for the GPU, by file and line."""
        return _syncs(self._same_step)

    def kernels(self) -> dict[str, Any]:
        """The number and the time of a step's kernels, and the operations that take most of it, in ms."""
        return _kernels(self._same_step)


def _trainer(params: Params, rate: float) -> tuple[Trainer, Iterator[StagedBatch]]:
    """The trainer of fold 0, and the batches of its first epoch. rate: draws of each image."""
    torch.manual_seed(0)
    model = build_model(spec_from_params(params.model, params.data.classes))
    loader, sampler = make_loader(fold_samples(0, params, TRAIN_FILES).train.assign(rate=rate), params, 1)
    sampler.epoch = 1
    trainer = Trainer(model, loader, sampler, params.train, [1.0] * len(params.data.classes), 1, make_accelerator(params.train.precision))
    return trainer, staged(loader, device())


def _timed_steps(step: Step, batches: Iterator[StagedBatch], size: int, most: int) -> dict[str, Any]:
    """At most so many steps of `size` images, with the time for which a step waits for the next batch."""
    waited, count = 0.0, 0
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
    return rate(size, taken / count) | shares


def _syncs(step: Callable[[], object]) -> dict[str, Any]:
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
    with CheckpointWriter(Checkpoint(folder), every=0) as writer:
        written = seconds(lambda: trainer.save_checkpoint(writer, wait=True), 1, 1)  # the first one page-locks the memory
        stopped = seconds(lambda: trainer.save_checkpoint(writer), 1, 0)  # with the copy on the GPU
    return {
        "until_written_s": written,
        "training_stops_s": stopped,
        "mb": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6,
    }


def _validation(params: Params, tiny: bool) -> dict[str, float]:
    """The full-resolution score that picks the best epoch, as a training computes it. first_s: of its first run."""
    network = build_model(spec_from_params(params.model, params.data.classes)).eval()
    network.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    files = cached_files(4 if tiny else 10)
    model = _KnownLogits(network, files[0], params.train.size)
    spec = InputSpec(params.train.size, params.model.in_channels, params.train.images_per_batch, device(), params.train.precision)
    some = {f"{copy}_{file.stem}": file for copy in range(1 if tiny else 3) for file in files}

    def score() -> None:
        with kernels_without_search():
            model_dice(model, some, spec, params.train.crop, Decision(0.5))

    start = perf_counter()
    score()
    first = perf_counter() - start
    return {"first_s": first, "images_per_s": len(some) / seconds(score, 1, 0)}


class _KnownLogits(nn.Module):
    """Runs the network, and returns the masks of one file in place of its noise, whose outlines would take far longer than a hand's."""

    def __init__(self, network: nn.Module, file: Path, size: int) -> None:
        super().__init__()
        self._network = network
        self._logits = torch.from_numpy(coverage(read_masks(file), (size, size)).dense()).to(device()).sub(127.5).div(10)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C, H, W) logits."""
        self._network(images)
        return self._logits.expand(len(images), *self._logits.shape)
