"""Cached samples -> what the network is fed: images, and coverage cut to boxes, as uint8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from handbone.cache.resize import channels_first, resized, scaled_shape
from handbone.cache.sample import read_sample
from handbone.masks.coverage import coverage, cut, hardened
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.training.data.augment import Augmenter
from handbone.training.data.sampling import PADDING, SampleIndex

Pixels = NDArray[np.uint8]
Source = tuple[Pixels, PackedMasks]  # the image at the network's size, its masks at full resolution
Item = tuple[Pixels, CroppedMaps, float]  # image, target, weight in the loss


@dataclass(frozen=True)
class TrainSampleSpec:
    """channels: 1 or 3; size: longer side in pixels; canvas: (h, w) that every sample is padded to; seed: of the augmentation.

    crop: side in pixels of the random window that is cut from each augmented image, null for all of it; focus: how many times as often as
    others a window holds a class, by its number; hard: whether targets are 0 or 1 rather than coverage.
    """

    channels: int
    size: int
    canvas: tuple[int, int]
    seed: int
    crop: int | None = None
    focus: Mapping[int, float] = field(default_factory=dict)
    hard: bool = False


class Batch(NamedTuple):
    """N samples. NumPy, not tensors: those would pass from a worker through shared memory, of which a container has little.

    images: (N, C_in, h, w) uint8; boxes: (N, C, 4) int32 and values: uint8, every sample's `CroppedMaps`, values one sample after the other;
    weights: (N,) float32, of each sample in the loss.
    """

    images: Pixels
    boxes: NDArray[np.int32]
    values: Pixels
    weights: NDArray[np.float32]


class TrainingSet(Dataset[Item]):
    """Augmented samples, by ticket. weights: of each in the loss."""

    def __init__(
        self, files: Sequence[Path], recipe: TrainSampleSpec, augmenter: Augmenter, weights: Sequence[float] | None = None
    ) -> None:
        self._files, self._recipe, self._augmenter = files, recipe, augmenter
        self._weights = weights or [1.0] * len(files)
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

    def __getitem__(self, ticket: SampleIndex) -> Item:
        """-> image (C_in, h, w) uint8, padded with 0 to the canvas, its target, C maps, and its weight."""
        epoch, index, draw = ticket
        image, masks = self._kept[index] if self._kept else self.load(index)
        moves, place = np.random.SeedSequence([self._recipe.seed, epoch, index, draw - PADDING]).generate_state(2)
        moved, motion = self._augmenter(image, int(moves))
        target = coverage(masks, (image.shape[0], image.shape[1]), motion)
        if self._recipe.crop:
            window = self._window(target, moved.shape, np.random.default_rng(place))
            moved, target = moved[window[0] : window[2], window[1] : window[3]], cut(target, window)
        padded = np.zeros((self._recipe.channels, *self._recipe.canvas), np.uint8)
        padded[:, : moved.shape[0], : moved.shape[1]] = channels_first(moved)  # grey is repeated where 3 channels are asked for
        return padded, hardened(target) if self._recipe.hard else target, 0.0 if draw == PADDING else self._weights[index]

    def _window(self, target: CroppedMaps, shape: Sequence[int], rng: np.random.Generator) -> tuple[int, int, int, int]:
        """y0, x0, y1, x1 of a window in an image of `shape`: anywhere, or around a pixel of the box of a class in focus."""
        sides = [min(self._recipe.crop, shape[0]), min(self._recipe.crop, shape[1])]
        corner = [int(rng.integers(whole - side + 1)) for whole, side in zip(shape, sides, strict=False)]
        boxes = {number: target.boxes[number].tolist() for number in self._recipe.focus}
        more = {number: factor - 1 for number, factor in self._recipe.focus.items() if factor > 1 and boxes[number][2] > boxes[number][0]}
        if more and rng.random() > 1 / (1 + max(more.values())):
            shares = np.array(list(more.values()))
            y0, x0, y1, x1 = boxes[int(rng.choice(list(more), p=shares / shares.sum()))]
            centre = (rng.integers(y0, y1), rng.integers(x0, x1))
            corner = [int(np.clip(middle - side // 2, 0, whole - side)) for middle, side, whole in zip(centre, sides, shape, strict=False)]
        return corner[0], corner[1], corner[0] + sides[0], corner[1] + sides[1]


def collate(samples: Sequence[Item]) -> Batch:
    """N samples -> one batch."""
    images, targets, weights = zip(*samples, strict=True)
    values = np.concatenate([target.values for target in targets])
    return Batch(np.stack(images), np.stack([target.boxes for target in targets]), values, np.array(weights, np.float32))
