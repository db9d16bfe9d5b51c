"""Runs computed directly from cropped low-resolution maps equal the thresholded upsampled dense maps."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from dense_maps import upsampled
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.upsample import full_masks, level_of


def plain_masks(maps: np.ndarray, shape: tuple[int, int], threshold: float) -> np.ndarray:
    """(C, h, w) uint8 -> (C, H, W): upsample the dense maps, then compare with the threshold."""
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


def exact_masks(maps: np.ndarray, shape: tuple[int, int], threshold: float) -> np.ndarray:
    """The same in integers, so without any rounding."""
    return upsampled(maps, shape) > threshold * 255 * 4 * shape[0] * shape[1]


def masks_of(maps: np.ndarray, shape: tuple[int, int], threshold: float) -> np.ndarray:
    return full_masks(CroppedMaps.from_dense(maps), shape, threshold).boxed().dense()


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("threshold", [0.5, 0.2, 100 / 255])
def test_at_powers_of_two_every_pixel_is_that_of_torch(factor: int, threshold: float) -> None:
    """The weights and products are exact in float32 there, so even ties agree."""
    maps = adversarial(24, 18)
    shape = (24 * factor, 18 * factor)
    assert np.array_equal(masks_of(maps, shape, threshold), plain_masks(maps, shape, threshold))


@pytest.mark.parametrize("shape", [(360, 480), (100, 77), (25, 18), (73, 55), (24, 18), (12, 9), (5, 31)])
@pytest.mark.parametrize("threshold", [0.5, 0.2, 100 / 255, 0.999])
def test_at_any_ratio_every_pixel_is_exact(shape: tuple[int, int], threshold: float) -> None:
    maps = adversarial(24, 18)
    assert np.array_equal(masks_of(maps, shape, threshold), exact_masks(maps, shape, threshold))


@pytest.mark.parametrize("shape", [(360, 480), (100, 77), (25, 18), (73, 55)])
def test_at_other_ratios_torch_differs_only_at_ties(shape: tuple[int, int]) -> None:
    """Because of float32 rounding: within 1e-4 of a step of uint8 from the threshold."""
    maps = adversarial(24, 18)
    differing = masks_of(maps, shape, 0.5) != plain_masks(maps, shape, 0.5)
    upsampled = functional.interpolate(torch.from_numpy(maps)[None].double(), size=shape, mode="bilinear", align_corners=False)[0].numpy()
    assert np.abs(upsampled - 127.5)[differing].max(initial=0) < 1e-4


def test_every_map_of_2_by_3_at_four_levels() -> None:
    """Levels below, beside and above the threshold, and ties of their means with it."""
    maps = np.array(list(itertools.product([0, 100, 155, 255], repeat=6)), np.uint8).reshape(-1, 2, 3)
    for shape in [(2, 3), (4, 6), (5, 7), (16, 24), (3, 3)]:
        assert np.array_equal(masks_of(maps, shape, 0.5), exact_masks(maps, shape, 0.5))


@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (1, 9)])
def test_a_map_of_one_pixel_fills_the_image(shape: tuple[int, int]) -> None:
    assert masks_of(np.array([[[200]], [[20]]], np.uint8), shape, 0.5).tolist() == [
        [[True] * shape[1]] * shape[0],
        [[False] * shape[1]] * shape[0],
    ]


@pytest.mark.parametrize("shape", [(5, 7), (40, 4), (1, 1), (3, 90)])
def test_a_map_that_is_larger_than_the_image_gives_runs_of_one_pixel_or_more(shape: tuple[int, int]) -> None:
    maps = adversarial(24, 18)
    masks = full_masks(CroppedMaps.from_dense(maps), shape, 0.5)
    assert np.array_equal(masks.boxed().dense(), exact_masks(maps, shape, 0.5))
    assert (masks.intervals[:, 0] < masks.intervals[:, 1]).all()


def test_large_smooth_maps() -> None:
    rng = np.random.default_rng(2)
    maps = np.rint(255 * torch.nn.functional.avg_pool2d(torch.from_numpy(rng.random((4, 1, 256, 256))), 31, 1, 15).numpy()[:, 0]).astype(
        np.uint8
    )
    assert np.array_equal(masks_of(maps, (2048, 2048), 0.5), plain_masks(maps, (2048, 2048), 0.5))


def test_each_class_may_have_its_threshold() -> None:
    maps, thresholds = adversarial(24, 18), np.linspace(0.1, 0.9, 9)
    masks = full_masks(CroppedMaps.from_dense(maps), (73, 55), thresholds).boxed().dense()
    for index, threshold in enumerate(thresholds.tolist()):
        assert np.array_equal(masks[index], masks_of(maps[index : index + 1], (73, 55), threshold)[0])


def test_every_multiple_of_half_a_step_is_exact() -> None:
    """At 2048 px and the largest sums too, where a float of that size is not."""
    units = 255 * 4 * 2048 * 2048 * 2**21
    assert all(level_of(half_steps / 510, units) == half_steps * units // 510 for half_steps in range(511))
