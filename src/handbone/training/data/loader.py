"""Augmented batches of a fold's samples."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_all_start_methods
from time import perf_counter
from typing import Any

import pandas as pd
from torch.utils.data import DataLoader
from tqdm import tqdm

from handbone.cache.resize import scaled_shape
from handbone.config.params import Params, mirrored_classes
from handbone.training.data.augment import Augmenter
from handbone.training.data.dataset import Batch, TrainingSet, TrainSampleSpec
from handbone.training.data.faults import SamplesOrFaults, collate_or_fault, raise_fault
from handbone.training.data.sampling import ResumableBatchSampler, class_factors
from handbone.utils.ending import STOP_SIGNALS, die_with_parent
from handbone.utils.memory import available_bytes
from handbone.utils.parallel import prefetch_map

TIMEOUT = 1800.0  # seconds for one batch: a worker process that hangs must not cost a night
MEMORY_SHARE = 0.5  # of the available memory, for the training images


def make_loader(
    train: pd.DataFrame, params: Params, seed: int, rank: int = 0, world_size: int = 1
) -> tuple[DataLoader[Any], ResumableBatchSampler]:
    """Batches of the samples `train` (see `FoldSamples`), padded to the largest of their shapes; this process's part of each batch.

    The samples are kept in memory if they fit.
    """
    samples = _training_set(train, params, seed)
    _load_if_it_fits(samples, rank, world_size)
    batches = ResumableBatchSampler(train["rate"].tolist(), params.train.images_per_batch, seed, rank, world_size)
    workers = params.machine.num_workers
    # forked where the system can fork: every spawned worker would receive a copy of the images in memory
    context = "fork" if workers and "fork" in get_all_start_methods() else None
    loader = DataLoader(
        SamplesOrFaults(samples),
        batch_sampler=batches,
        collate_fn=collate_or_fault,
        num_workers=workers,
        persistent_workers=workers > 0,
        timeout=TIMEOUT if workers else 0,
        multiprocessing_context=context,
        worker_init_fn=partial(_start_worker, os.getpid()),
    )
    return loader, batches


@contextmanager
def closed_workers(loader: DataLoader[Any]) -> Iterator[None]:
    """At the end of this context the loader's worker processes are gone, however it ends.

    Without it an exception would leave them to Python's exit, which sends them SIGTERM, which they ignore, and waits for ever.
    """
    try:
        yield
    finally:
        iterator = getattr(loader, "_iterator", None)  # of persistent workers; PyTorch has no public name for it
        if iterator is not None:
            iterator._shutdown_workers()  # it asks them to end, and waits five seconds for each
            for worker in iterator._workers:
                worker.kill()
            loader._iterator = None


def first_batch(loader: DataLoader[Any], batches: ResumableBatchSampler) -> tuple[Callable[[], Batch], float]:
    """-> a function that returns the first batch of the current epoch in the time for which training waits for a batch, and the seconds
    that the worker processes take for a batch (0 without them).

    Without worker processes training waits until the batch is loaded; with them it is usually ready.
    """
    batches.start = 0
    dataset, indices = loader.dataset, next(iter(batches))

    def draw() -> Batch:
        return raise_fault(loader.collate_fn([dataset[index] for index in indices]))

    loaded = draw()
    if loader.num_workers == 0:
        return draw, 0.0
    start = perf_counter()
    draw()  # again: the first time includes compiling kernels
    return lambda: loaded, (perf_counter() - start) / loader.num_workers


def _training_set(train: pd.DataFrame, params: Params, seed: int) -> TrainingSet:
    section, channels = params.train, params.model.in_channels
    crop_focus = class_factors(section.oversample, params.data.classes)
    hard, mirrored = section.target == "hard", mirrored_classes(params.data.classes, params.data.mirror)
    spec = TrainSampleSpec(channels, section.size, padded_shape(train, params), seed, section.crop, crop_focus, hard, mirrored)
    augmenter = Augmenter(section.augment, channels)
    augmenter.check_sizes(_scaled_shapes(train, params))
    return TrainingSet(train["file"].tolist(), spec, augmenter, train["weight"].tolist())


def _load_if_it_fits(samples: TrainingSet, rank: int, world_size: int) -> None:
    """Keep all samples in memory if the copies of all processes take at most `MEMORY_SHARE` of it, judged by the first sample."""
    first_image, first_masks = samples.load(0)
    if world_size * len(samples) * (first_image.nbytes + first_masks.bits.nbytes) < available_bytes() * MEMORY_SHARE:
        loaded = prefetch_map(samples.load, range(len(samples)))
        bar = tqdm(loaded, total=len(samples), desc="load into memory", unit="image", leave=False, disable=True if rank else None)
        samples.keep_in_memory(list(bar))


def _start_worker(parent: int, worker: int) -> None:
    """Let the worker end with its training, and only then.

    Schedulers and terminals send their signals to the workers too; without workers the training could not finish its step and save.
    """
    for number in [*STOP_SIGNALS, signal.SIGINT]:
        signal.signal(number, signal.SIG_IGN)
    die_with_parent(parent)


def _scaled_shapes(train: pd.DataFrame, params: Params) -> list[tuple[int, int]]:
    """(h, w) of each sample at the network's size."""
    return [scaled_shape(shape, params.train.size) for shape in zip(train["height"], train["width"], strict=True)]


def padded_shape(train: pd.DataFrame, params: Params) -> tuple[int, int]:
    """(h, w) that holds every sample at the network's size, or every window. train: rows of height and width in pixels."""
    scaled = _scaled_shapes(train, params)
    height, width = max(height for height, _ in scaled), max(width for _, width in scaled)
    crop = max(height, width) if params.train.crop is None else params.train.crop
    return min(height, crop), min(width, crop)
