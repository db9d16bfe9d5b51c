"""Augmented batches through a DataLoader, up to the tensors that the loss takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks import baseline, plain
from benchmarks.nearest import RecordingAugmenter
from benchmarks.scene import SIDE, Scene
from benchmarks.table import ResultRow, check
from benchmarks.timing import peak_mb
from handbone.masks.coverage import supersampling
from handbone.training.data.augment import Augmenter
from handbone.training.data.augment_presets import Preset, transforms
from handbone.training.data.dataset import Batch, TrainingSet, TrainSampleSpec, collate
from handbone.training.data.sampling import ResumableBatchSampler
from handbone.training.staging import stage
from handbone.training.target_buffer import TargetBuffer

WORKERS = 2
BATCH = {512: 8, 1024: 4}  # a quarter if quick; at 1024, four batches of 8 of the baseline would fill 4 GB of shared memory
AIM = {"loader_512": "40", "loader_1024": "30"}
Augment = Preset | list[dict[str, dict[str, Any]]]
CPU = torch.device("cpu")


def loader_512(scene: Scene) -> list[ResultRow]:
    """512 px."""
    return _loader("loader_512", scene, 512, scene.params.train.augment)


def loader_1024(scene: Scene) -> list[ResultRow]:
    """1024 px."""
    return _loader("loader_1024", scene, 1024, scene.params.train.augment)


def loader_1024_strong(scene: Scene) -> list[ResultRow]:
    """1024 px, with transforms that no matrix describes."""
    return _loader("loader_1024_strong", scene, 1024, "strong")


def _loader(name: str, scene: Scene, size: int, augment: Augment) -> list[ResultRow]:
    _check(name, scene, size, augment)
    batch, few, many = BATCH[size] // (4 if scene.quick else 1), 2 if scene.quick else 4, 24 if scene.quick else 120
    samples = _ours(scene, size, (many + 2) * batch, Augmenter(augment, 1))
    pairs = [(_baseline_ms(scene, size, augment, batch, few), _ours_ms(samples, batch, many)) for _ in range(scene.rounds(2))]
    slow, fast = (median(times) for times in zip(*pairs, strict=True))
    indices = [(0, index, 0) for index in range(batch)]
    peak = peak_mb(lambda: _preparation(TargetBuffer(CPU))(collate([samples[index] for index in indices])))
    note = f"{WORKERS} workers, batch {batch}; peak of one process that loads a batch and fills the target"
    return [ResultRow(name, slow, fast, peak, AIM.get(name, ""), note)]


def _ours(scene: Scene, size: int, length: int, augmenter: Augmenter) -> TrainingSet:
    """The training set, in memory; its images repeat, as in many epochs."""
    files = [scene.files[index % len(scene.files)] for index in range(length)]
    samples = TrainingSet(files, TrainSampleSpec(1, size, (size, size), 21), augmenter)
    loaded = [samples.load(index) for index in range(len(scene.files))]
    samples.keep_in_memory([loaded[index % len(loaded)] for index in range(length)])
    return samples


def _check(name: str, scene: Scene, size: int, augment: Augment) -> None:
    """Targets of a few draws, of those whose warp is a matrix: for others the plain computation has no formula."""
    augmenter, buffer = RecordingAugmenter(augment, 1), TargetBuffer(CPU)
    samples = _ours(scene, size, len(scene.files), augmenter)
    for epoch, index in ((1, 0), (2, 3), (3, 1))[: 1 if scene.quick else 3]:
        batch = collate([samples[epoch, index, 0]])
        if augmenter.inverse_warp.ndim != 2:
            continue
        ours = (buffer.fill(stage(batch, CPU).target)[0] * 255).round().to(torch.uint8).numpy()
        expected = plain.coverage(scene.dense(index), augmenter.inverse_warp, size, supersampling((SIDE, SIDE), (size, size)))
        check(np.array_equal(ours, expected), f"{name}: the target of image {index} in epoch {epoch}")


def _baseline_ms(scene: Scene, size: int, augment: Augment, batch: int, count: int) -> float:
    length = (count + 2) * batch  # more batches than are timed, so that no worker is idle at the end
    samples = [scene.samples[index % len(scene.samples)] for index in range(length)]
    dataset = baseline.TrainingSet(samples, scene.classes, size, transforms(augment))
    loader = DataLoader(dataset, batch_size=batch, num_workers=WORKERS, multiprocessing_context="fork")
    return _steady_ms(iter(loader), lambda found: found, count, batch)


def _ours_ms(samples: TrainingSet, batch: int, count: int) -> float:
    batches = ResumableBatchSampler([1.0] * len(samples), batch, 21)
    loader = DataLoader(samples, batch_sampler=batches, collate_fn=collate, num_workers=WORKERS, multiprocessing_context="fork")
    return _steady_ms(iter(loader), _preparation(TargetBuffer(CPU)), count, batch)


def _preparation(buffer: TargetBuffer) -> Callable[[Batch], object]:
    """What a training step does with a batch before the network runs."""

    def prepare(batch: Batch) -> object:
        staged = stage(batch, CPU)
        inputs = staged.images.float().div_(255).contiguous(memory_format=torch.channels_last)
        return inputs, buffer.fill(staged.target)

    return prepare


def _steady_ms(batches: Iterator[Any], prepare: Callable[[Any], object], count: int, size: int) -> float:
    """ms per image, from the first batch to the one `count` later; count: a multiple of the number of workers, which deliver in turn."""
    prepare(next(batches))
    start = perf_counter()
    for _ in range(count):
        prepare(next(batches))
    return (perf_counter() - start) * 1e3 / (count * size)
