"""Windows cover the image, are weighted by a Gaussian, and blend to the same logits as a plain loop and as MONAI."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handbone.inference.sliding_window import importance, positions, windowed

# height, width, side, stride: odd, not square, strides that do not divide, windows longer than one axis, a stride of a whole window
PLANS = [
    (40, 40, 16, 8),
    (37, 53, 16, 7),
    (53, 37, 15, 15),
    (20, 61, 32, 9),
    (61, 20, 32, 31),
    (17, 16, 16, 16),
    (9, 30, 8, 1),
    (5, 4, 1, 1),
]


class Calls(nn.Module):
    """Passes images to `model` and records their shapes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.shapes = model, []

    def forward(self, images: Tensor) -> Tensor:
        self.shapes.append(tuple(images.shape))
        return self.model(images)


class InWindow(nn.Module):
    """Logits that depend on a pixel's position in its window and on its value."""

    def forward(self, images: Tensor) -> Tensor:
        y, x = (torch.arange(count, dtype=torch.float32) for count in images.shape[-2:])
        return torch.stack([images[:, 0] + y[:, None], images[:, 0] * x], 1)


def pixels(height: int, width: int, channels: int = 3, images: int = 2) -> Tensor:
    return torch.rand(images, channels, height, width, generator=torch.Generator().manual_seed(0))


def convolution(channels: int = 3, classes: int = 4, size: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(channels, classes, size, padding=size // 2)


def gaussian(side: int) -> np.ndarray:
    return np.array([math.exp(-(((place - (side - 1) / 2) / (side / 8)) ** 2) / 2) for place in range(side)])


def written_out(images: np.ndarray, side: int, stride: int) -> np.ndarray:
    """`InWindow` through windows in float64, one window after the other."""
    count, _, height, width = images.shape
    sums, total = np.zeros((count, 2, height, width)), np.zeros((height, width))
    high, wide = min(side, height), min(side, width)
    weights = np.maximum(np.outer(gaussian(high), gaussian(wide)), 1e-3)
    y, x = np.mgrid[:high, :wide]
    tops = sorted({min(top, height - high) for top in range(0, height, stride)})
    lefts = sorted({min(left, width - wide) for left in range(0, width, stride)})
    for top in tops:
        for left in lefts:
            here = np.s_[..., top : top + high, left : left + wide]
            crop = images[:, 0][here]
            sums[here] += weights * np.stack([crop + y, crop * x], 1)
            total[here] += weights
    return sums / total


@pytest.mark.parametrize("length", range(1, 40))
def test_positions_leave_no_pixel_out_and_end_at_the_border(length: int) -> None:
    for side in range(1, 20):
        for stride in range(1, side + 1):
            found = positions(length, side, stride)
            window = min(side, length)
            assert found[0] == 0 and found[-1] == length - window
            assert {first + step for first in found for step in range(window)} == set(range(length))
            steps = np.diff(found)
            assert (steps[:-1] == stride).all() and (steps > 0).all() and (steps <= stride).all()


@pytest.mark.parametrize(("height", "width"), [(16, 16), (15, 32), (1, 7), (256, 256)])
def test_weights_are_symmetric_and_never_zero(height: int, width: int) -> None:
    weights = importance(height, width)
    assert weights.shape == (height, width) and weights.min() >= 1e-3 and 0.6 < weights.max() <= 1
    assert torch.equal(weights, weights.flip(0)) and torch.equal(weights, weights.flip(1))
    assert torch.equal(importance(width, height), weights.T)
    np.testing.assert_allclose(weights.numpy(), np.maximum(np.outer(gaussian(height), gaussian(width)), 1e-3), rtol=1e-5)


@pytest.mark.parametrize(("height", "width", "side", "stride"), PLANS)
def test_every_pixel_is_the_weighted_mean_of_its_windows(height: int, width: int, side: int, stride: int) -> None:
    images = pixels(height, width)
    found = windowed(InWindow(), side, stride)(images)
    np.testing.assert_allclose(found.numpy(), written_out(images.double().numpy(), side, stride), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("height", "width", "side", "stride"), PLANS)
def test_a_model_of_single_pixels_is_the_same_through_windows_to_the_border(height: int, width: int, side: int, stride: int) -> None:
    images, model = pixels(height, width), convolution()
    found = windowed(model, side, stride)(images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, model(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("height", "width", "side", "stride"), PLANS)
def test_a_constant_stays_constant(height: int, width: int, side: int, stride: int) -> None:
    constant = torch.tensor([-7.3, 0, 1e-4, 11.1])[:, None, None]
    found = windowed(lambda images: constant.expand(len(images), 4, *images.shape[-2:]), side, stride)(pixels(height, width))
    torch.testing.assert_close(found, constant.expand(2, 4, height, width), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 16), (16, 3), (1, 1)])
def test_an_image_no_larger_than_a_window_is_seen_as_it_is(height: int, width: int) -> None:
    images, model = pixels(height, width), Calls(convolution(size=5))
    assert torch.equal(windowed(model, 16, 8)(images), model.model(images))
    assert model.shapes == [tuple(images.shape)]


@pytest.mark.parametrize(("batch_size", "calls"), [(1, 24), (5, 5), (8, 3), (12, 2), (100, 1)])
def test_windows_run_in_batches_of_all_images_alike(batch_size: int, calls: int) -> None:
    images, model = pixels(40, 30), Calls(convolution(size=3))  # 4 by 3 windows of each of two images
    found = windowed(model, 16, 8, batch_size)(images)
    assert len(model.shapes) == calls
    assert sum(shape[0] for shape in model.shapes) == 24 and max(shape[0] for shape in model.shapes) <= batch_size
    assert {shape[1:] for shape in model.shapes} == {(3, 16, 16)}
    torch.testing.assert_close(found, windowed(model.model, 16, 8, 1)(images))


def test_windows_lie_in_memory_as_the_networks_input_does() -> None:
    seen = []
    windowed(lambda images: seen.append(images.is_contiguous(memory_format=torch.channels_last)) or images, 16, 8)(pixels(20, 20))
    assert seen == [True]


def test_images_of_a_batch_are_independent() -> None:
    images, model = pixels(40, 30), windowed(convolution(size=3), 16, 8, 5)
    for index in range(2):
        torch.testing.assert_close(model(images)[index : index + 1], model(images[index : index + 1]))


def test_half_precision_is_summed_in_single_precision() -> None:
    images, model = pixels(40, 30), convolution()
    found = windowed(lambda inputs: model(inputs).bfloat16(), 16, 4)(images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, model(images).bfloat16().float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("height", "width", "side", "stride"), [(64, 64, 32, 16), (61, 83, 32, 24), (50, 96, 24, 6), (47, 40, 40, 20)])
def test_it_agrees_with_monai(height: int, width: int, side: int, stride: int) -> None:
    from monai.inferers import sliding_window_inference  # takes seconds, and only this test needs it

    images = pixels(height, width)
    model = nn.Sequential(convolution(3, 8, 5), nn.Tanh(), convolution(8, 4, 3))
    with torch.no_grad():
        reference = sliding_window_inference(images, side, 4, model, overlap=1 - stride / side, mode="gaussian", sigma_scale=0.125)
        found = windowed(model, side, stride)(images)
        assert (model(images) - reference).abs().max() > 1e-3  # so that the comparison means something
    torch.testing.assert_close(found, reference, rtol=0, atol=1e-4)
