"""Hard targets as they are commonly made, by nearest neighbour: one point per network pixel. `benchmarks.study` trains on them.

`python -m benchmarks.nearest`: the Dice at 2048 px of a network whose probabilities equal its target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader, Dataset

from benchmarks.scene import Scene, scene
from handbone.cache.resize import UInt8Image, scaled_shape
from handbone.config.params import Params
from handbone.evaluation.decision import Decision, decided_counts
from handbone.evaluation.dice import dice
from handbone.masks.coverage import IDENTITY, InverseWarp, coverage
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.training.data.augment import Augmenter
from handbone.training.data.dataset import TrainingSet, TrainSample, TrainSampleSpec, collate
from handbone.training.data.sampling import ResumableBatchSampler, SampleIndex

SIZES = (256, 512, 1024)
DECISION = Decision(0.5)
Target = Callable[[PackedMasks, tuple[int, int], InverseWarp], CroppedMaps]  # masks, the network's size (h, w), warp -> C maps


def nearest_centre(masks: PackedMasks, shape: tuple[int, int], warp: InverseWarp = IDENTITY) -> CroppedMaps:
    """Each network pixel takes the mask at its centre, like cv2.INTER_NEAREST_EXACT."""
    return coverage(masks, shape, warp, points=1)


def nearest_corner(masks: PackedMasks, shape: tuple[int, int], warp: InverseWarp = IDENTITY) -> CroppedMaps:
    """Each network pixel takes the mask at its upper left corner, like cv2.INTER_NEAREST."""
    return coverage(masks, shape, warp + _to_corner(masks.shape, shape, warp), points=1)


def _binarized(masks: PackedMasks, shape: tuple[int, int], warp: InverseWarp) -> CroppedMaps:
    return coverage(masks, shape, warp).binarize()


TARGETS: dict[str, Target] = {
    "coverage": coverage,
    "hard: half and more": _binarized,
    "hard: INTER_NEAREST_EXACT": nearest_centre,
    "hard: INTER_NEAREST": nearest_corner,
}


class RecordingAugmenter(Augmenter):
    """Keeps the inverse warp of the last image."""

    inverse_warp: InverseWarp = IDENTITY

    def __call__(self, image: UInt8Image, seed: int) -> tuple[UInt8Image, InverseWarp]:
        augmented, self.inverse_warp = super().__call__(image, seed)
        return augmented, self.inverse_warp


class TargetSet(Dataset[TrainSample]):
    """The same augmented images as `TrainingSet` gives, with another target; whole images only."""

    def __init__(self, target: Target, train: pd.DataFrame, params: Params, seed: int) -> None:
        """train: rows as in `FoldSamples`; params: for the network's size and the augmentation."""
        shapes = [scaled_shape(shape, params.train.size) for shape in zip(train["height"], train["width"], strict=True)]
        padded = max(height for height, _ in shapes), max(width for _, width in shapes)
        spec = TrainSampleSpec(params.model.in_channels, params.train.size, padded, seed)
        self._target, self._augmenter = target, RecordingAugmenter(params.train.augment, params.model.in_channels)
        self._samples = TrainingSet(train["file"].tolist(), spec, self._augmenter, train["weight"].tolist())
        self._loaded = [self._samples.load(index) for index in range(len(train))]
        self._samples.keep_in_memory(self._loaded)

    def __getitem__(self, sample_index: SampleIndex) -> TrainSample:
        """-> image (C_in, h, w) uint8, target, weight."""
        image, _, weight = self._samples[sample_index]
        unpadded, masks = self._loaded[sample_index[1]]
        return image, self._target(masks, (unpadded.shape[0], unpadded.shape[1]), self._augmenter.inverse_warp), weight


def with_target(target: Target, train: pd.DataFrame, params: Params, seed: int, batches: ResumableBatchSampler) -> DataLoader[Any]:
    """The loader of a training with another target."""
    return DataLoader(TargetSet(target, train, params, seed), batch_sampler=batches, collate_fn=collate)


def main() -> None:
    """Print a table: kinds of targets by the network's size."""
    print(f"| target | {' | '.join(f'{size} px' for size in SIZES)} |\n|---|{'---:|' * len(SIZES)}")
    with scene(quick=True) as hands:
        for name, target in TARGETS.items():
            print(f"| {name} | {' | '.join(f'{_best_dice(hands, size, target):.4f}' for size in SIZES)} |", flush=True)


def _best_dice(hands: Scene, size: int, target: Target) -> float:
    """The mean Dice of predictions that equal the targets."""
    masks = [hands.masks(index) for index in range(len(hands.files))]
    return float(np.mean([dice(decided_counts([target(each, (size, size), IDENTITY)], each, DECISION)).mean() for each in masks]))


def _to_corner(full: tuple[int, int], small: tuple[int, int], warp: InverseWarp) -> InverseWarp:
    """From a network pixel's centre to the centre of the first full-resolution pixel in it, in network pixels, in the form of `warp`."""
    x, y = (0.5 * low / high - 0.5 for low, high in ((small[1], full[1]), (small[0], full[0])))
    return np.array([[0, 0, x], [0, 0, y]]) if warp.ndim == 2 else np.array([x, y])


if __name__ == "__main__":
    main()
