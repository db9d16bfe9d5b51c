"""Packed masks -> coverage at the network's size: the training target."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def sample_packed(packed: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, B) packed masks -> (h, w, B), each pixel the mask's value at its centre (INTER_NEAREST would take a corner)."""
    rows, columns = (_centres(full, small) for full, small in zip(packed.shape, shape, strict=False))
    return packed if packed.shape[:2] == shape else packed[rows[:, None], columns]


def _centres(full: int, small: int) -> NDArray[np.intp]:
    """The source index under the centre of each of `small` cells that divide `full` pixels."""
    return ((np.arange(small) * 2 + 1) * full // (2 * small)).astype(np.intp)


def coverage(packed: NDArray[np.uint8], classes: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, B) packed masks -> (C, h, w) uint8, the share of each low-resolution pixel inside the mask, 255 for all of it.

    The area average at any ratio of the sizes, computed inside each mask's box only.
    """
    by_row, by_column = (_area_weights(full, small) for full, small in zip(packed.shape, shape, strict=False))
    in_row, in_column = np.bitwise_or.reduce(packed, 1), np.bitwise_or.reduce(packed, 0)
    shares = np.zeros((classes, *shape), np.uint8)
    for index, share in enumerate(shares):
        byte, bit = index // 8, np.uint8(1 << index % 8)
        rows, columns = np.flatnonzero(in_row[:, byte] & bit), np.flatnonzero(in_column[:, byte] & bit)
        if not len(rows):
            continue
        (y0, y1), (h0, h1) = _spans(rows, packed.shape[0], shape[0])
        (x0, x1), (w0, w1) = _spans(columns, packed.shape[1], shape[1])
        mask = (packed[y0:y1, x0:x1, byte] & bit).astype(bool).astype(np.float32)
        share[h0:h1, w0:w1] = np.rint(255 * (by_row[h0:h1, y0:y1] @ mask @ by_column[w0:w1, x0:x1].T))
    return shares


def _spans(positions: NDArray[np.intp], full: int, small: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The range of set positions among `full` pixels, and that of the `small` cells that they touch; ends exclusive."""
    start, end = int(positions[0]), int(positions[-1]) + 1
    return (start, end), (start * small // full, -(-end * small // full))


@lru_cache
def _area_weights(full: int, small: int) -> NDArray[np.float32]:
    """(small, full): the share of each of `small` cells that each of `full` pixels covers; rows sum to 1."""
    edges = np.arange(small + 1) * (full / small)
    pixels = np.arange(full)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: NDArray[np.float32] = (np.clip(overlap, 0, None) * (small / full)).astype(np.float32)
    return weights
