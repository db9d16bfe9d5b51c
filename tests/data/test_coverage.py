"""Coverage is the area average of the full-resolution mask."""

import numpy as np
import pytest

from handbone.data.coverage import coverage, sample_packed
from handbone.data.masks import BoxedMasks


def random_packed(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    masks = np.random.default_rng(1).random((5, height, width)) < 0.4
    return masks, BoxedMasks.from_dense(masks).packed()


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_coverage_is_the_area_average(factor: int) -> None:
    masks, packed = random_packed(8 * factor, 12 * factor)
    expected = masks.reshape(5, 8, factor, 12, factor).mean((2, 4))
    found = coverage(packed, 5, (8, 12))
    assert np.abs(found / 255 - expected).max() <= 0.5 / 255 + 1e-9


@pytest.mark.parametrize("shape", [(36, 48), (35, 47), (90, 120), (100, 130), (1, 1)])
def test_coverage_at_any_ratio_is_the_area_average(shape: tuple[int, int]) -> None:
    """Against the average over a grid so fine that both grids' lines are on it."""
    masks, packed = random_packed(90, 120)
    fine = masks.repeat(shape[0], 1).repeat(shape[1], 2)
    expected = fine.reshape(5, shape[0], 90, shape[1], 120).mean((2, 4))
    assert np.abs(coverage(packed, 5, shape) / 255 - expected).max() <= 0.5 / 255 + 1e-5


def test_sampling_takes_the_pixel_under_the_centre() -> None:
    packed = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    assert sample_packed(packed, (8, 8))[..., 0].tolist() == packed[..., 0].tolist()
    # a centre on a pixel's edge belongs to the pixel behind it
    assert sample_packed(packed, (2, 2))[..., 0].tolist() == [[18, 22], [50, 54]]
    three = sample_packed(np.arange(9, dtype=np.uint8).reshape(9, 1, 1), (3, 1))
    assert three.ravel().tolist() == [1, 4, 7]
