"""A training on a few small images, for tests in one process and in several."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from handbone.cache.sample import CachedSample, write_sample
from handbone.config.params import TrainParams
from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks
from handbone.training.data.augment import Augmenter
from handbone.training.data.dataset import TrainingSet, TrainSampleSpec, collate
from handbone.training.data.sampling import ResumableBatchSampler
from handbone.training.distributed import make_accelerator
from handbone.training.state import CurveRow
from handbone.training.trainer import Trainer
from handbone.training.watching import EpochReport, TrainingStart, Watcher


def make_files(folder: Path) -> list[Path]:
    """Five cached samples of 64 px and two classes."""
    rng = np.random.default_rng(0)
    files = [folder / f"{index}.npz" for index in range(5)]
    for index, file in enumerate(files):
        masks = np.zeros((2, 64, 64), bool)
        masks[0, 8:24, 4 : 8 + 4 * index] = masks[1, :6] = True
        image = np.where(masks.any(0), 200, 40).astype(np.uint8) + rng.integers(0, 20, (64, 64), np.uint8)
        write_sample(file, CachedSample(image, (64, 64), PackedMasks.pack(BoxedMasks.from_dense(masks))))
    return files


def small_network(plain: bool = False) -> nn.Sequential:
    """plain: without dropout and batch norm, whose results depend on how images are divided among batches and processes."""
    norm = [] if plain else [nn.BatchNorm2d(8)]
    noise = [] if plain else [nn.Dropout(0.2)]
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), *norm, nn.ReLU(), *noise, nn.Conv2d(8, 2, 3, padding=1))


class EachCurve(Watcher):
    """Calls a function with the learning curve after every epoch, and when a training resumes."""

    def __init__(self, call: Callable[[list[CurveRow]], None]) -> None:
        self._call = call

    def start(self, start: TrainingStart) -> None:
        if start.rows:
            self._call(list(start.rows))

    def epoch_done(self, report: EpochReport) -> None:
        self._call(list(report.rows))


def scored(dice: float) -> Callable[[nn.Module], NDArray[np.float64]]:
    """A function in place of the score: this Dice for each of three images and two classes, whatever the model."""
    return lambda _: np.full((3, 2), dice)


class SmallTraining:
    """A trainer and its parts, all seeded. network: null for `small_network`; tracker: as `machine.tracker`."""

    def __init__(
        self, files: list[Path], params: TrainParams, plain: bool = False, network: nn.Module | None = None, tracker: str | None = None
    ) -> None:
        torch.manual_seed(3)
        self.accelerator = make_accelerator("no", tracker)
        rank, world_size = self.accelerator.process_index, self.accelerator.num_processes
        samples = TrainingSet(files, TrainSampleSpec(1, 32, (32, 32), 3), Augmenter([{"HorizontalFlip": {"p": 0.5}}], 1))
        self.batches = ResumableBatchSampler([1.0] * len(files), params.batch_size, 3, rank, world_size)
        loader: DataLoader[Any] = DataLoader(samples, batch_sampler=self.batches, collate_fn=collate)
        self.model = network or small_network(plain)
        self.trainer = Trainer(self.model, loader, self.batches, params, [1.0, 1.0], 3, self.accelerator)
