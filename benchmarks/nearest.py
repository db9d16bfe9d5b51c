"""Targets as they are commonly made: masks shrunk by nearest neighbour, 0 or 1 - for benchmarks.study."""

from __future__ import annotations

from typing import Any

import numpy as np

from handbone.data import coverage, dataset
from handbone.data.coverage import Coverage, Motion
from handbone.data.packed import PackedMasks


def use(target: str) -> None:
    """Have targets look at one point of each network pixel: its `centre`, or its upper left `corner`, as cv2.INTER_NEAREST does."""
    of_area = coverage.coverage
    replaced: Any = coverage
    replaced.raster = lambda full, small: 1

    def nearest(masks: PackedMasks, shape: tuple[int, int], motion: Motion = coverage.IDENTITY) -> Coverage:
        return of_area(masks, shape, motion + _shift(masks.shape, shape, motion) if target == "corner" else motion)

    replaced = dataset
    replaced.coverage = nearest


def _shift(full: tuple[int, int], small: tuple[int, int], motion: Motion) -> Motion:
    """From a network pixel's centre to that of the first full-resolution pixel in it, in network pixels, in the motion's own form."""
    x, y = (0.5 * low / high - 0.5 for low, high in ((small[1], full[1]), (small[0], full[0])))
    return np.array([[0, 0, x], [0, 0, y]]) if motion.ndim == 2 else np.array([x, y])
