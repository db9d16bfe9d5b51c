"""Dense maps for the tests of masks, and the plain computation with them in whole numbers."""

import numpy as np


def exact_sum(maps: list[np.ndarray], weights: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """M times (C, h, w) uint8 and (M, C) weights -> (C, H, W) int64: the weighted sum in units of 1 / (4·H·W) of a step of uint8."""
    return sum(weight[:, None, None] * upsampled(one, shape) for one, weight in zip(maps, weights, strict=True))


def upsampled(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(C, h, w) -> (C, H, W) int64 in units of 1 / (4·H·W)."""
    rows, columns = _weights(maps.shape[1], shape[0]), _weights(maps.shape[2], shape[1])
    return rows @ maps.astype(np.int64) @ columns.T


def _weights(small: int, full: int) -> np.ndarray:
    """(full, small) weights of the sources in units of 1 / (2·full): bilinear, centre-aligned."""
    matrix = np.zeros((full, small), np.int64)
    for pixel in range(full):
        centre = min(max((2 * pixel + 1) * small - full, 0), 2 * full * (small - 1))
        first = centre // (2 * full)
        matrix[pixel, first] += 2 * full - centre % (2 * full)
        matrix[pixel, min(first + 1, small - 1)] += centre % (2 * full)
    return matrix


def random_maps(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(6, h, w) uint8: empty, full, noise at all levels, at two levels, a few stray pixels, a blob in a box."""
    maps = np.zeros((6, *size), np.uint8)
    maps[1] = 255
    maps[2] = rng.integers(0, 256, size)
    maps[3] = rng.integers(127, 129, size)
    maps[4] = np.where(rng.random(size) < 0.05, 255, 0)
    top, left = rng.integers(0, size[0]), rng.integers(0, size[1])
    maps[5, top : top + size[0] // 2, left : left + size[1] // 2] = rng.integers(1, 256)
    return maps
