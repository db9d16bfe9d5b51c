"""The ceiling that a size sets to the Dice: that of predictions that equal the training's targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import scaled_shape
from handbone.cache.sample import read_masks
from handbone.evaluation.dice import count, dice
from handbone.masks.coverage import coverage
from handbone.masks.runs import RunLengthMasks
from handbone.masks.upsample import full_masks
from handbone.utils.parallel import prefetch_map

THRESHOLD = 0.5  # that of a target that is its masks' coverage


@dataclass(frozen=True)
class Ceiling:
    """mean: the Dice over all classes; lowest: that of the worst class, `name`."""

    mean: float
    lowest: float
    name: str


def ceilings(files: Sequence[Path], classes: Sequence[str], sizes: Sequence[int], hard: bool) -> dict[int, Ceiling]:
    """The ceiling of each of `sizes`, the longer side of the network's image in pixels.

    The true masks become targets at the network's size, coverage or 0 and 1 (`hard`), and these are upsampled, thresholded and scored at
    full resolution as predictions are. files: the npz of cached training images. Classes that an image lacks count as predicted rightly.
    """

    def of_image(file: Path) -> list[NDArray[np.float64]]:
        masks = read_masks(file, len(classes))
        truth = RunLengthMasks.from_packed(masks)
        targets = [coverage(masks, scaled_shape(masks.shape, size)) for size in sizes]
        return [dice(count(full_masks(each.binarize() if hard else each, masks.shape, THRESHOLD), truth)) for each in targets]

    by_class = np.mean(list(prefetch_map(of_image, files)), axis=0)  # (sizes, C)
    return {size: _ceiling(row, classes) for size, row in zip(sizes, by_class, strict=True)}


def _ceiling(by_class: NDArray[np.float64], classes: Sequence[str]) -> Ceiling:
    return Ceiling(float(by_class.mean()), float(by_class.min()), classes[int(by_class.argmin())])
