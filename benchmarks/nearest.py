"""Targets as they are commonly made, masks shrunk by nearest neighbour, 0 or 1 - for benchmarks.study.

`python -m benchmarks.nearest`: the Dice at 2048 px that a network would have whose probabilities are its target, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from handbone.data import coverage, dataset
from handbone.evaluation.heldout import heldout_counts

from benchmarks.scene import Scene, scene
from handbone.evaluation.dice import dice
from handbone.masks.coverage import Motion, hardened
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks

SIZES = (256, 512, 1024)
Target = Callable[[PackedMasks, tuple[int, int]], CroppedMaps]


def main() -> None:
    """Print a table: the kinds of target by the network's size."""
    print(f"| target | {' | '.join(f'{size} px' for size in SIZES)} |\n|---|{'---:|' * len(SIZES)}")
    with scene(quick=True) as made:
        _print("coverage", made, coverage.coverage)
        _print("hard: half and more", made, lambda masks, shape: hardened(coverage.coverage(masks, shape)))
        for name, target in (("hard: INTER_NEAREST_EXACT", "centre"), ("hard: INTER_NEAREST", "corner")):
            _print(name, made, use(target))


def _print(name: str, made: Scene, target: Target) -> None:
    cells = [f"{np.mean([_perfect(made, index, size, target) for index in range(len(made.files))]):.4f}" for size in SIZES]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _perfect(made: Scene, index: int, size: int, target: Target) -> float:
    found = target(made.masks(index), (size, size))
    return float(dice(heldout_counts(made.files[index], CroppedMaps((size, size), found.boxes, found.values), 0.5)).mean())


def use(target: str) -> Target:
    """Have targets look at one point of each network pixel: its `centre`, or its upper left `corner`, as cv2.INTER_NEAREST does.

    -> what is in place of `coverage` now.
    """
    of_area = coverage.coverage
    replaced: Any = coverage
    replaced.raster = lambda full, small: 1

    def nearest(masks: PackedMasks, shape: tuple[int, int], motion: Motion = coverage.IDENTITY) -> CroppedMaps:
        return of_area(masks, shape, motion + _shift(masks.shape, shape, motion) if target == "corner" else motion)

    replaced = dataset
    replaced.coverage = nearest
    return nearest


def _shift(full: tuple[int, int], small: tuple[int, int], motion: Motion) -> Motion:
    """From a network pixel's centre to that of the first full-resolution pixel in it, in network pixels, in the motion's own form."""
    x, y = (0.5 * low / high - 0.5 for low, high in ((small[1], full[1]), (small[0], full[0])))
    return np.array([[0, 0, x], [0, 0, y]]) if motion.ndim == 2 else np.array([x, y])


if __name__ == "__main__":
    main()
