"""Augmented batches of a fold's samples."""

from __future__ import annotations

import signal
from collections.abc import Callable
from multiprocessing import get_all_start_methods
from typing import Any

import pandas as pd
from torch.utils.data import DataLoader
from tqdm import tqdm

from handbone.cache.resize import scaled_shape
from handbone.config.params import Params
from handbone.training.data.augment import Augmenter
from handbone.training.data.dataset import Batch, TrainingSet, TrainSampleSpec, collate
from handbone.training.data.memory import available_bytes
from handbone.training.data.sampling import ResumableBatchSampler
from handbone.utils.parallel import prefetch_map

MEMORY_SHARE = 0.5  # of the available memory, for the training images


def make_loader(
    train: pd.DataFrame, params: Params, seed: int, rank: int = 0, world_size: int = 1
) -> tuple[DataLoader[Any], ResumableBatchSampler]:
    """Batches of the samples `train` (see `FoldSamples`), padded to the largest of their shapes; this process's part of each batch.

    The samples are kept in memory if they fit.
    """
    samples = _training_set(train, params, seed)
    _load_if_it_fits(samples, rank, world_size)
    batches = ResumableBatchSampler(train["rate"].tolist(), params.train.batch_size, seed, rank, world_size)
    workers = params.machine.num_workers
    # forked where the system can fork: every spawned worker would receive a copy of the images in memory
    context = "fork" if workers and "fork" in get_all_start_methods() else None
    loader = DataLoader(
        samples,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context=context,
        worker_init_fn=_ignore_sigterm,
    )
    return loader, batches


def first_batch(loader: DataLoader[Any], batches: ResumableBatchSampler) -> Callable[[], Batch]:
    """A function that returns the first batch of the current epoch in the time for which training waits for a batch.

    Without worker processes training waits until the batch is loaded; with them it is usually ready.
    """
    batches.start = 0
    dataset, indices = loader.dataset, next(iter(batches))

    def draw() -> Batch:
        batch: Batch = collate([dataset[index] for index in indices])
        return batch

    loaded = draw()
    return draw if loader.num_workers == 0 else lambda: loaded


def _training_set(train: pd.DataFrame, params: Params, seed: int) -> TrainingSet:
    section, channels = params.train, params.model.in_channels
    crop_focus = {number: section.oversample[name] for number, name in enumerate(params.data.classes) if name in section.oversample}
    spec = TrainSampleSpec(channels, section.size, _padded_shape(train, params), seed, section.crop, crop_focus, section.target == "hard")
    return TrainingSet(train["file"].tolist(), spec, Augmenter(section.augment, channels), train["weight"].tolist())


def _load_if_it_fits(samples: TrainingSet, rank: int, world_size: int) -> None:
    """Keep all samples in memory if the copies of all processes take at most `MEMORY_SHARE` of it, judged by the first sample."""
    first_image, first_masks = samples.load(0)
    if world_size * len(samples) * (first_image.nbytes + first_masks.bits.nbytes) < available_bytes() * MEMORY_SHARE:
        loaded = prefetch_map(samples.load, range(len(samples)))
        bar = tqdm(loaded, total=len(samples), desc="load into memory", unit="image", leave=False, disable=rank > 0)
        samples.keep_in_memory(list(bar))


def _ignore_sigterm(worker: int) -> None:
    """A scheduler sends SIGTERM to the workers too; without them the training could not finish its step and save."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _padded_shape(train: pd.DataFrame, params: Params) -> tuple[int, int]:
    """(h, w) that holds every sample at the network's size, or every window."""
    scaled = [scaled_shape(shape, params.train.size) for shape in zip(train["height"], train["width"], strict=True)]
    height, width = max(height for height, _ in scaled), max(width for _, width in scaled)
    crop = max(height, width) if params.train.crop is None else params.train.crop
    return min(height, crop), min(width, crop)
