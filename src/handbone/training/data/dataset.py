"""Cached samples -> the network's input: images, and coverage cropped to boxes, as uint8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from handbone.cache.resize import UInt8Image, channels_first, resized, scaled_shape
from handbone.cache.sample import read_sample
from handbone.masks.coverage import coverage
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.training.data.augment import Augmenter
from handbone.training.data.sampling import PADDING, SampleIndex

LoadedSample = tuple[UInt8Image, PackedMasks]  # the image at the network's size, its masks at full resolution
TrainSample = tuple[UInt8Image, CroppedMaps, float]  # image, target, weight in the loss
Window = tuple[int, int, int, int]  # y0, x0, y1, x1 in pixels, ends exclusive


@dataclass(frozen=True)
class TrainSampleSpec:
    """How a cached sample becomes the network's input.

    channels: 1 or 3; size: longer side in pixels; padded_shape: (h, w) to which every sample is padded; seed: of the augmentation.
    crop: side in pixels of the random window that is cut out of each augmented image, null for the whole image.
    crop_focus: by class number, how many times as often as a uniform one a window is placed on the class.
    hard: targets of 0 and 1 instead of coverage; mirrored: for each class, the number of its class in a mirrored image, if some differ.
    """

    channels: int
    size: int
    padded_shape: tuple[int, int]
    seed: int
    crop: int | None = None
    crop_focus: Mapping[int, float] = field(default_factory=dict)
    hard: bool = False
    mirrored: Sequence[int] | None = None


class Batch(NamedTuple):
    """N samples. NumPy arrays, as worker processes would pass tensors through shared memory, of which a container has little.

    images: (N, C_in, h, w) uint8; boxes: (N, C, 4) int32 and values: uint8, the `CroppedMaps` of all samples, values one after the other;
    weights: (N,) float32, of each sample in the loss.
    """

    images: NDArray[np.uint8]
    boxes: NDArray[np.int32]
    values: NDArray[np.uint8]
    weights: NDArray[np.float32]


class TrainingSet(Dataset[TrainSample]):
    """Augmented samples by `SampleIndex`.

    files: the npz of each sample; weights: of each sample in the loss, 1 if not given.
    """

    def __init__(self, files: Sequence[Path], spec: TrainSampleSpec, augmenter: Augmenter, weights: Sequence[float] | None = None) -> None:
        self.files, self._spec, self._augmenter = files, spec, augmenter
        self._weights = weights or [1.0] * len(files)
        self._in_memory: list[LoadedSample] = []

    def keep_in_memory(self, samples: list[LoadedSample]) -> None:
        """Use these instead of reading files from now on: one per file, as `load` returns them."""
        self._in_memory = samples

    def load(self, index: int) -> LoadedSample:
        """Read a sample from its file, without augmentation."""
        sample = read_sample(self.files[index])
        if sample.masks is None:
            raise ValueError(f"{self.files[index]} has no masks")
        return resized(sample.image, scaled_shape(sample.shape, self._spec.size)), sample.masks

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, sample_index: SampleIndex) -> TrainSample:
        """-> image (C_in, h, w) uint8, padded with 0 to `padded_shape`; target, C maps; weight."""
        epoch, index, repeat = sample_index
        image, masks = self._in_memory[index] if self._in_memory else self.load(index)
        augment_seed, crop_seed = np.random.SeedSequence([self._spec.seed, epoch, index, repeat - PADDING]).generate_state(2)
        augmented, inverse_warp = self._augmenter(image, int(augment_seed))
        target = coverage(masks, (image.shape[0], image.shape[1]), inverse_warp, mirrored=self._spec.mirrored)
        if self._spec.crop is not None:
            window = self._window(target, augmented.shape, self._spec.crop, np.random.default_rng(crop_seed))
            augmented, target = augmented[window[0] : window[2], window[1] : window[3]], target.crop(window)
        padded = np.zeros((self._spec.channels, *self._spec.padded_shape), np.uint8)
        padded[:, : augmented.shape[0], : augmented.shape[1]] = channels_first(augmented)  # a grey image is repeated for 3 channels
        return padded, target.binarize() if self._spec.hard else target, 0.0 if repeat == PADDING else self._weights[index]

    def _window(self, target: CroppedMaps, shape: Sequence[int], crop: int, rng: np.random.Generator) -> Window:
        """A window in an image of `shape`: uniform, or around a random pixel in the box of a class of `crop_focus`."""
        sides = [min(crop, shape[0]), min(crop, shape[1])]
        corner = [int(rng.integers(whole - side + 1)) for whole, side in zip(shape, sides, strict=False)]
        boxes = {number: target.boxes[number].tolist() for number in self._spec.crop_focus}
        wanted = {number: factor - 1 for number, factor in self._spec.crop_focus.items() if factor > 1}
        present = {number: weight for number, weight in wanted.items() if boxes[number][2] > boxes[number][0]}
        if present and rng.random() > 1 / (1 + max(present.values())):
            shares = np.array(list(present.values()))
            y0, x0, y1, x1 = boxes[int(rng.choice(list(present), p=shares / shares.sum()))]
            centre = (rng.integers(y0, y1), rng.integers(x0, x1))
            corner = [int(np.clip(middle - side // 2, 0, whole - side)) for middle, side, whole in zip(centre, sides, shape, strict=False)]
        return corner[0], corner[1], corner[0] + sides[0], corner[1] + sides[1]


def collate(samples: Sequence[TrainSample]) -> Batch:
    """N samples -> one batch."""
    images, targets, weights = zip(*samples, strict=True)
    values = np.concatenate([target.values for target in targets])
    return Batch(np.stack(images), np.stack([target.boxes for target in targets]), values, np.array(weights, np.float32))
