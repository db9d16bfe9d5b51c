"""Image sizes and area averaging."""

import numpy as np

from handbone.cache.resize import channels_first, scaled_shape, shrink


def test_the_longer_side_is_scaled_and_nothing_is_enlarged() -> None:
    assert scaled_shape((2048, 2048), 512) == (512, 512)
    assert scaled_shape((360, 480), 240) == (180, 240)
    assert scaled_shape((480, 360), 240) == (240, 180)
    assert scaled_shape((100, 80), 240) == scaled_shape((100, 80), None) == (100, 80)


def test_shrinking_averages_areas() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 12), np.uint8)
    expected = image.reshape(4, 2, 6, 2).mean((1, 3))
    assert np.abs(shrink(image, 6).astype(float) - expected).max() <= 0.5


def test_channels_first_keeps_the_order_of_channels() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    assert channels_first(colour).tolist() == colour.transpose(2, 0, 1).tolist()
