"""Augmented batches of a fold's samples."""

from __future__ import annotations

import signal
from multiprocessing import get_all_start_methods
from typing import Any

import pandas as pd
from torch.utils.data import DataLoader
from tqdm import tqdm

from handbone.cache.resize import scaled_shape
from handbone.config.params import Params
from handbone.training.data.augment import Augmenter
from handbone.training.data.dataset import TrainingSet, TrainSampleSpec, collate
from handbone.training.data.sampling import ResumableBatchSampler
from handbone.utils.memory import available_bytes
from handbone.utils.parallel import prefetch_map

MEMORY_SHARE = 0.5  # of what is free, for the training images


def make_loader(
    train: pd.DataFrame, params: Params, seed: int, rank: int = 0, world: int = 1
) -> tuple[DataLoader[Any], ResumableBatchSampler]:
    """Batches of the samples `train` (`FoldSamples`), all padded to the largest of their shapes; this process's share of each batch."""
    section, channels = params.train, params.model.in_channels
    focus = {number: section.oversample[name] for number, name in enumerate(params.data.classes) if name in section.oversample}
    recipe = TrainSampleSpec(channels, section.size, _canvas(train, params), seed, section.crop, focus, section.target == "hard")
    samples = TrainingSet(train["file"].tolist(), recipe, Augmenter(section.augment, channels), train["weight"].tolist())
    first_image, first_masks = samples.load(0)
    if world * len(samples) * (first_image.nbytes + first_masks.bits.nbytes) < available_bytes() * MEMORY_SHARE:
        loaded = prefetch_map(samples.load, range(len(samples)))
        samples.keep(list(tqdm(loaded, total=len(samples), desc="into memory", unit="image", leave=False, disable=rank > 0)))
    batches = ResumableBatchSampler(train["times"].tolist(), section.batch_size, seed, rank, world)
    workers = params.machine.num_workers
    # forked, where that is to be had: spawned workers would each take a copy of the images in memory
    context = "fork" if workers and "fork" in get_all_start_methods() else None
    loader = DataLoader(
        samples,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context=context,
        worker_init_fn=_outlive_sigterm,
    )
    return loader, batches


def _outlive_sigterm(worker: int) -> None:
    """A group's SIGTERM reaches the workers too; without them the training could not end its step and save."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _canvas(train: pd.DataFrame, params: Params) -> tuple[int, int]:
    """(h, w) that holds every sample at the network's size, or every window."""
    scaled = [scaled_shape(shape, params.train.size) for shape in zip(train["height"], train["width"], strict=True)]
    height, width = max(height for height, _ in scaled), max(width for _, width in scaled)
    crop = params.train.crop or max(height, width)
    return min(height, crop), min(width, crop)
