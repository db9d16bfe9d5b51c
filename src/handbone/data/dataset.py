"""Cached samples -> what the network is fed: images, and coverage cut to boxes, as uint8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from handbone.data.augment import Augmenter
from handbone.data.cache import read_sample
from handbone.data.coverage import Coverage, coverage
from handbone.data.packed import PackedMasks
from handbone.data.resize import channels_first, resized, scaled_shape

Pixels = NDArray[np.uint8]
Ticket = tuple[int, int]  # (epoch, index): a worker process needs no other state to draw the same augmentation again
Source = tuple[Pixels, PackedMasks]  # the image at the network's size, its masks at full resolution


@dataclass(frozen=True)
class Recipe:
    """channels: 1 or 3; size: longer side in pixels; canvas: (h, w) that every image is padded to; seed: of the augmentation."""

    channels: int
    size: int
    canvas: tuple[int, int]
    seed: int


class Batch(NamedTuple):
    """N samples. NumPy, not tensors: those would pass from a worker through shared memory, of which a container has little.

    images: (N, C_in, h, w) uint8; boxes: (N, C, 4) int32 and values: uint8, every sample's `Coverage`, values one sample after the other.
    """

    images: Pixels
    boxes: NDArray[np.int32]
    values: Pixels


class TrainingSet(Dataset[tuple[Pixels, Coverage]]):
    """Augmented samples, by (epoch, index)."""

    def __init__(self, files: Sequence[Path], recipe: Recipe, augmenter: Augmenter) -> None:
        self._files, self._recipe, self._augmenter = files, recipe, augmenter
        self._kept: list[Source] = []

    def keep(self, sources: list[Source]) -> None:
        """Draw from memory from now on: `sources` are what `load` gives for each index."""
        self._kept = sources

    def load(self, index: int) -> Source:
        """The sample as it is before augmentation, from its file."""
        sample = read_sample(self._files[index])
        if sample.masks is None:
            raise ValueError(f"{self._files[index]} has no masks")
        return resized(sample.image, scaled_shape(sample.shape, self._recipe.size)), sample.masks

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, ticket: Ticket) -> tuple[Pixels, Coverage]:
        """-> image (C_in, h, w) uint8, padded with 0 to the canvas, and its coverage, C maps."""
        epoch, index = ticket
        image, masks = self._kept[index] if self._kept else self.load(index)
        seed = int(np.random.SeedSequence([self._recipe.seed, epoch, index]).generate_state(1)[0])
        moved, motion = self._augmenter(image, seed)
        target = coverage(masks, (image.shape[0], image.shape[1]), motion)
        padded = np.zeros((self._recipe.channels, *self._recipe.canvas), np.uint8)
        padded[:, : image.shape[0], : image.shape[1]] = channels_first(moved)  # grey is repeated where 3 channels are asked for
        return padded, target


def collate(samples: Sequence[tuple[Pixels, Coverage]]) -> Batch:
    """N samples -> one batch."""
    targets = [target for _, target in samples]
    values = np.concatenate([target.values for target in targets])
    return Batch(np.stack([image for image, _ in samples]), np.stack([target.boxes for target in targets]), values)


class EpochBatches:
    """Batches of (epoch, index) tickets, shuffled by seed and epoch; sizes differ by one at most, so that none is left with one image."""

    def __init__(self, length: int, batch_size: int, seed: int) -> None:
        self._length, self._seed = length, seed
        self._count = -(-length // batch_size)
        self.epoch = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[Ticket]]:
        order = np.random.default_rng([self._seed, self.epoch]).permutation(self._length)
        for batch in np.array_split(order, self._count):
            yield [(self.epoch, int(index)) for index in batch]
