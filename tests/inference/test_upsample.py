"""Full-resolution masks from boxes equal those of the whole map."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from handbone.inference.probabilities import Probabilities
from handbone.inference.upsample import full_masks


def plain_masks(maps: np.ndarray, shape: tuple[int, int], threshold: float) -> np.ndarray:
    """(C, h, w) uint8 -> (C, H, W): upsample everything, then compare."""
    upsampled = functional.interpolate(torch.from_numpy(maps)[None].float(), size=shape, mode="bilinear", align_corners=False)[0]
    return (upsampled > threshold * 255).numpy()


def adversarial(height: int, width: int) -> np.ndarray:
    """Empty, full, weak everywhere, stray pixels in corners and borders, ties at the threshold, smooth blobs, noise."""
    rng = np.random.default_rng(0)
    maps = np.zeros((9, height, width), np.uint8)
    maps[1] = 255
    maps[2] = 127
    maps[3, 0, 0] = maps[3, -1, -1] = maps[3, height // 2, 0] = 255
    maps[4] = rng.integers(127, 129, (height, width))
    y, x = np.mgrid[:height, :width]
    maps[5] = 255 * np.exp(-((y - height / 2) ** 2 + (x - width / 3) ** 2) / 30)
    maps[6] = rng.integers(0, 256, (height, width))
    maps[7, :, 3] = 200
    maps[8, 2, :] = 130
    return maps


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("threshold", [0.5, 0.2, 100 / 255])
def test_at_powers_of_two_every_pixel_is_equal(factor: int, threshold: float) -> None:
    """The weights and products are exact in float32 there, so even ties agree."""
    maps = adversarial(24, 18)
    shape = (24 * factor, 18 * factor)
    assert np.array_equal(full_masks(Probabilities.from_dense(maps), shape, threshold).dense(), plain_masks(maps, shape, threshold))


@pytest.mark.parametrize("shape", [(360, 480), (100, 77), (25, 18), (73, 55)])
def test_at_other_ratios_only_ties_may_differ(shape: tuple[int, int]) -> None:
    maps = adversarial(24, 18)
    found, plain = full_masks(Probabilities.from_dense(maps), shape, 0.5).dense(), plain_masks(maps, shape, 0.5)
    upsampled = functional.interpolate(torch.from_numpy(maps)[None].double(), size=shape, mode="bilinear", align_corners=False)[0].numpy()
    differing = found != plain
    assert np.abs(upsampled - 127.5)[differing].max(initial=0) < 1e-3
    assert not differing[[0, 1, 2, 3, 7, 8]].any()
