"""Cached samples -> what the network is fed: images and coverage targets as uint8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from handbone.data.augment import Augmenter
from handbone.data.cache import read_sample
from handbone.data.coverage import coverage, sample_packed
from handbone.data.resize import scaled_shape

Pixels = NDArray[np.uint8]
Ticket = tuple[int, int]  # (epoch, index): a worker process needs no other state to draw the same augmentation again


@dataclass(frozen=True)
class Recipe:
    """classes: number of masks; channels: 1 or 3; size: longer side in pixels; canvas: (h, w) that every image is padded to."""

    classes: int
    channels: int
    size: int
    canvas: tuple[int, int]
    seed: int


class TrainingSet(Dataset[tuple[Tensor, Tensor]]):
    """Augmented samples, by (epoch, index)."""

    def __init__(self, files: Sequence[Path], recipe: Recipe, augmenter: Augmenter) -> None:
        self._files, self._recipe, self._augmenter = files, recipe, augmenter

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, ticket: Ticket) -> tuple[Tensor, Tensor]:
        """-> image (C_in, h, w) uint8 and coverage (C, h, w) uint8 (255: the whole pixel), padded with 0 to the canvas."""
        epoch, index = ticket
        recipe = self._recipe
        sample = read_sample(self._files[index])
        if sample.masks is None:
            raise ValueError(f"{self._files[index]} has no masks")
        packed = sample_packed(sample.masks.packed(), (sample.image.shape[0], sample.image.shape[1]))
        seed = int(np.random.SeedSequence([recipe.seed, epoch, index]).generate_state(1)[0])
        image, packed = self._augmenter(sample.image, packed, seed)
        shape = scaled_shape(sample.shape, recipe.size)
        stacks = network_image(image, shape, recipe.channels), coverage(packed, recipe.classes, shape)
        padded_image, padded_target = (torch.from_numpy(_pad(stack, recipe.canvas)) for stack in stacks)
        return padded_image, padded_target


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


def network_image(image: Pixels, shape: tuple[int, int], channels: int) -> Pixels:
    """(H, W) or (H, W, 3) -> (channels, h, w): averaged over areas; grey repeated where 3 channels are asked for."""
    if image.shape[:2] != shape:
        image = np.asarray(cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    stacked = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    return np.array(np.broadcast_to(stacked, (channels, *shape)))  # a copy: torch wants memory that it may write


def _pad(stack: Pixels, canvas: tuple[int, int]) -> Pixels:
    return np.pad(stack, ((0, 0), (0, canvas[0] - stack.shape[1]), (0, canvas[1] - stack.shape[2])))
