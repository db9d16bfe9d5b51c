"""Probabilities at the network's resolution -> masks at full resolution, without ever holding C x H x W floats.

Bilinear and centre-aligned, as torch's interpolate(align_corners=False). A pixel can pass the threshold only where one of its four
sources does, so each class is upsampled inside the box of those, one source pixel wider; the result is that of the whole map.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handbone.data.masks import BoxedMasks, Mask
from handbone.inference.probabilities import Probabilities


def full_masks(probabilities: Probabilities, shape: tuple[int, int], threshold: float) -> BoxedMasks:
    """C maps at (h, w) -> C masks at (H, W): where the upsampled probability is above `threshold` (0..1)."""
    level = np.float32(threshold * 255)
    corners, crops = [], []
    for (y0, x0, _, _), crop in zip(probabilities.boxes, probabilities.crops(), strict=True):
        corner, mask = _class_mask(crop, (int(y0), int(x0)), probabilities.shape, shape, level)
        corners.append(corner)
        crops.append(mask)
    return BoxedMasks.from_crops(shape, corners, crops)


def _class_mask(
    crop: NDArray[np.uint8], corner: tuple[int, int], small: tuple[int, int], full: tuple[int, int], level: np.float32
) -> tuple[tuple[int, int], Mask]:
    above = crop > level
    if not above.any():
        return (0, 0), np.zeros((0, 0), bool)
    windows = [_window(np.flatnonzero(above.any(1 - axis)) + corner[axis], small[axis], full[axis]) for axis in (0, 1)]
    (top, bottom), (left, right) = windows
    upper, lower, down = _sources(np.arange(top, bottom), small[0], full[0])
    before, after, across = _sources(np.arange(left, right), small[1], full[1])
    padded = np.zeros((int(lower[-1] - upper[0]) + 1, int(after[-1] - before[0]) + 1), np.float32)
    _paste(padded, crop, (corner[0] - int(upper[0]), corner[1] - int(before[0])))
    rows = padded[upper - upper[0]] * (1 - down)[:, None] + padded[lower - upper[0]] * down[:, None]
    values = rows[:, before - before[0]] * (1 - across) + rows[:, after - before[0]] * across
    return (top, left), values > level


def _window(positions: NDArray[np.intp], small: int, full: int) -> tuple[int, int]:
    """The full-resolution pixels, end exclusive, that have one of the low-resolution `positions` among their sources."""
    scale = full / small
    return max(0, int((positions[0] - 0.5) * scale - 0.5)), min(full, int((positions[-1] + 1.5) * scale - 0.5) + 2)


def _sources(pixels: NDArray[np.intp], small: int, full: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each full-resolution pixel its two low-resolution sources along one axis, and the weight of the second."""
    centres = np.clip((pixels + 0.5) * (small / full) - 0.5, 0, small - 1)
    first = np.floor(centres).astype(np.intp)
    return first, np.minimum(first + 1, small - 1), (centres - first).astype(np.float32)


def _paste(target: NDArray[np.float32], crop: NDArray[np.uint8], corner: tuple[int, int]) -> None:
    """Copy the part of `crop` that falls into `target` when its corner lies at `corner` (y, x), which may be outside."""
    spans = []
    for start, length, room in zip(corner, crop.shape, target.shape, strict=True):
        spans.append((slice(max(0, start), max(0, min(room, start + length))), slice(max(0, -start), max(0, min(length, room - start)))))
    (rows, crop_rows), (columns, crop_columns) = spans
    target[rows, columns] = crop[crop_rows, crop_columns]
