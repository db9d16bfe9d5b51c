"""The ceiling that a size sets to the Dice: that of predictions that equal the training's targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import scaled_shape
from handbone.cache.sample import read_masks
from handbone.evaluation.decision import Decision, decided_counts
from handbone.evaluation.dice import dice
from handbone.masks.coverage import coverage
from handbone.utils.parallel import prefetch_map

THRESHOLD = 0.5  # that of a target that is its masks' coverage


@dataclass(frozen=True)
class Ceiling:
    """mean: the Dice over all classes; lowest: that of the worst class, `name`."""

    mean: float
    lowest: float
    name: str


def ceilings(
    files: Sequence[Path], classes: Sequence[str], sizes: Sequence[int], hard: bool, exclusive: bool = False
) -> dict[int, Ceiling]:
    """The ceiling of each of `sizes`, the longer side of the network's image in pixels.

    The true masks become targets at the network's size, coverage or 0 and 1 (`hard`), and these are upsampled, decided and scored at full
    resolution as predictions are. files: the npz of cached training images. exclusive: classes exclude each other. Classes that an image
    lacks count as predicted rightly.
    """
    decision = Decision(None if exclusive else THRESHOLD)

    def of_image(file: Path) -> list[NDArray[np.float64]]:
        masks = read_masks(file, len(classes))
        targets = [coverage(masks, scaled_shape(masks.shape, size)) for size in sizes]
        return [dice(decided_counts([each.binarize() if hard else each], masks, decision)) for each in targets]

    by_class = np.mean(list(prefetch_map(of_image, files)), axis=0)  # (sizes, C)
    return {size: _ceiling(row, classes) for size, row in zip(sizes, by_class, strict=True)}


def _ceiling(by_class: NDArray[np.float64], classes: Sequence[str]) -> Ceiling:
    return Ceiling(float(by_class.mean()), float(by_class.min()), classes[int(by_class.argmin())])
