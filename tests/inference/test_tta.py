"""The mean over models, mirror images and sizes; windows and the CRF in it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from handbone.config.params import CrfParams, InferParams
from handbone.inference.predictor import from_model, to_uint8
from handbone.inference.sliding_window import windowed
from handbone.inference.tta import ensemble

PLAIN = InferParams(window_size=None, window_stride=None, hflip=False, vflip=False, scales=[1.0], crf=None, batch_size=4)
FLIPS = [{"hflip": True}, {"vflip": True}, {"hflip": True, "vflip": True}]


def settings(**changes: Any) -> InferParams:
    return InferParams.model_validate(PLAIN.model_dump() | changes)


class Places(nn.Module):
    """Logits that grow to the right and to the bottom, whatever the image: not symmetric on purpose. Records its inputs' shapes."""

    def __init__(self, right: float, down: float) -> None:
        super().__init__()
        self.right, self.down, self.shapes = right, down, []

    def forward(self, images: Tensor) -> Tensor:
        self.shapes.append(tuple(images.shape))
        y, x = (torch.arange(count) - count / 2 for count in images.shape[-2:])
        return (y[:, None] * self.down + x * self.right + images).expand(-1, 2, -1, -1)


def faithful(images: Tensor) -> Tensor:
    """Logits whose probabilities are the image."""
    return torch.logit(images, 1e-6)


def noise(height: int = 10, width: int = 14, channels: int = 1) -> Tensor:
    return torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(0))


def steps_apart(found: Tensor, expected: Tensor) -> int:
    """The largest difference of two uint8 maps."""
    assert found.dtype == expected.dtype == torch.uint8 and found.shape == expected.shape
    return int((found.int() - expected.int()).abs().max())


def test_ensemble_is_the_mean_over_models() -> None:
    images, models = noise(), [Places(0.3, 0.1), Places(-0.2, 0.5)]
    mean = sum(model(images).sigmoid() for model in models) / 2
    assert torch.equal(ensemble(models, PLAIN)(images), to_uint8(mean))


@pytest.mark.parametrize(
    ("flips", "axes"), [({"hflip": True}, [[-1]]), ({"vflip": True}, [[-2]]), ({"hflip": True, "vflip": True}, [[-1], [-2], [-2, -1]])]
)
def test_mirror_images_are_mirrored_back(flips: dict[str, bool], axes: list[list[int]]) -> None:
    """Every pixel differs from its mirror image, in the model and in the image."""
    images, models = noise(), [Places(0.3, 0.1), Places(-0.2, 0.5)]
    views = [model(images).sigmoid() for model in models]
    views += [model(images.flip(flipped)).sigmoid().flip(flipped) for flipped in axes for model in models]
    assert torch.equal(ensemble(models, settings(**flips))(images), to_uint8(torch.stack(views).double().mean(0)))


@pytest.mark.parametrize("flips", FLIPS)
def test_for_a_model_of_single_pixels_mirror_images_change_nothing(flips: dict[str, bool]) -> None:
    images = noise()
    assert torch.equal(ensemble([faithful], settings(**flips))(images), to_uint8(images))


def sided(images: Tensor) -> Tensor:
    """Logits of two classes that a network knows by their place alone: the left and the right half of whatever it sees."""
    left = torch.where(torch.arange(images.shape[-1]) < images.shape[-1] / 2, 3.0, -3.0)
    return torch.stack([left, -left]).view(1, 2, 1, -1).expand(len(images), 2, *images.shape[-2:])


def test_classes_swap_in_mirrored_views() -> None:
    """Left-right: a network that knows sides agrees with itself only if classes swap; without pairs the mean knows nothing."""
    images, plain = noise(), to_uint8(sided(noise()).sigmoid())
    assert torch.equal(ensemble([sided], settings(hflip=True), [1, 0])(images), plain)
    assert (ensemble([sided], settings(hflip=True))(images) == 128).all()


@pytest.mark.parametrize(("flips", "axes"), [({"vflip": True}, [[-2]]), ({"hflip": True, "vflip": True}, [[-1], [-2], [-2, -1]])])
def test_classes_swap_with_one_flip_and_not_with_two(flips: dict[str, bool], axes: list[list[int]]) -> None:
    images, model = noise(), nn.Conv2d(1, 3, 3, padding=1)
    with torch.no_grad():
        views = [model(images).sigmoid()]
        for flipped in axes:
            probs = model(images.flip(flipped)).sigmoid().flip(flipped)
            views.append(probs[:, [2, 1, 0]] if len(flipped) == 1 else probs)
        found = ensemble([model], settings(**flips), [2, 1, 0])(images)
        assert steps_apart(found, to_uint8(torch.stack(views).double().mean(0))) <= 1


@pytest.mark.parametrize("flips", FLIPS)
def test_for_a_symmetric_model_mirror_images_change_nothing(flips: dict[str, bool]) -> None:
    convolution = nn.Conv2d(1, 3, 3, padding=1)
    with torch.no_grad():
        convolution.weight.copy_(convolution.weight + convolution.weight.flip(-1))
        convolution.weight.copy_(convolution.weight + convolution.weight.flip(-2))
        plain = to_uint8(convolution(noise()).sigmoid())
        assert steps_apart(ensemble([convolution], settings(**flips))(noise()), plain) <= 1


@pytest.mark.parametrize("scales", [[1.0], [0.5, 1.0]])
def test_what_a_model_returns_is_not_overwritten(scales: list[float]) -> None:
    """It may be a tensor that the model keeps."""
    kept = noise()
    before = kept.clone()
    ensemble([lambda images: kept], settings(hflip=True, scales=scales))(noise())
    assert torch.equal(kept, before)


def test_one_model_with_one_view_keeps_its_logits() -> None:
    images, model = noise(), nn.Conv2d(1, 3, 3)
    with torch.no_grad():
        assert torch.equal(ensemble([model], PLAIN)(images), model(images))


def test_size_1_resizes_nothing() -> None:
    images, models = noise(9, 13), [Places(0.3, 0.1), Places(-0.2, 0.5)]
    once = ensemble(models, settings(hflip=True))(images)
    assert torch.equal(ensemble(models, settings(hflip=True, scales=[1.0, 1.0]))(images), once)
    assert torch.equal(ensemble(models[:1], settings(scales=[1.0, 1.0]))(images), to_uint8(models[0](images).sigmoid()))


@pytest.mark.parametrize("scales", [[0.5], [2.0], [0.75, 1.0, 1.25], [0.01, 3.3]])
def test_a_plain_image_is_the_same_at_every_size(scales: list[float]) -> None:
    images = torch.tensor([25, 178, 229])[:, None, None].expand(2, 3, 11, 17) / 255
    assert torch.equal(ensemble([faithful], settings(scales=scales, hflip=True))(images), to_uint8(images))


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.25, 1.5, 2.0, 3.0])
def test_centres_stay_where_they_are(factor: float) -> None:
    """A ramp that is resized and resized back stays the same, except at the borders; a shift of half a pixel would be 3 steps."""
    ramp = torch.linspace(0.1, 0.9, 32)
    images = torch.stack([ramp.expand(36, 32), torch.linspace(0.9, 0.1, 36)[:, None].expand(36, 32)])[None]
    found = ensemble([faithful], settings(scales=[factor]))(images)
    inside = (..., slice(6, -6), slice(6, -6))
    assert steps_apart(found[inside], to_uint8(images)[inside]) <= 1


def test_probabilities_are_what_is_resized_back() -> None:
    """A row of pixels with probability 0, then 1: in the middle between them it is one half, although the logits are not symmetric."""
    images = torch.cat([torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)], -1)
    found = ensemble([lambda inputs: torch.where(inputs > 0.5, 40.0, -10.0)], settings(scales=[0.5]))(images)
    assert found[0, 0, 0].tolist() == [0, 0, 0, 64, 191, 255, 255, 255]


def test_each_model_sees_each_mirror_image_at_each_size_once() -> None:
    models = [Places(0.3, 0.1), Places(-0.2, 0.5)]
    ensemble(models, settings(hflip=True, vflip=True, scales=[0.5, 1.0, 1.3]))(noise(10, 15))
    for model in models:
        assert model.shapes == [(2, 1, 5, 8)] * 4 + [(2, 1, 10, 15)] * 4 + [(2, 1, 13, 20)] * 4


def test_shrunk_images_are_antialiased() -> None:
    """Alternating columns of 0 and 1 shrink to grey; without antialiasing every third column is kept, which alternate again."""
    images = torch.arange(36).remainder(2).float().expand(1, 1, 36, 36)
    found = ensemble([faithful], settings(scales=[1 / 3]))(images)[..., 4:-4]
    assert found.min() > 110 and found.max() < 145


def test_windows_are_those_of_the_parameters() -> None:
    images, model = noise(20, 30), Places(0.3, 0.1)
    found = ensemble([model], settings(window_size=12, window_stride=7))(images)
    assert torch.equal(found, from_model(windowed(Places(0.3, 0.1), 12, 7, 4))(images))
    assert model.shapes == [(4, 1, 12, 12)] * 6  # 3 by 4 windows of two images, four at a time


def test_windows_have_the_same_side_at_every_size() -> None:
    images, model = noise(20, 20), Places(0.3, 0.1)
    ensemble([model], settings(window_size=16, window_stride=16, scales=[0.5, 1.0, 2.0]))(images)
    assert model.shapes == [(2, 1, 10, 10)] + [(4, 1, 16, 16)] * (2 * 4 // 4) + [(4, 1, 16, 16)] * (2 * 9 // 4) + [(2, 1, 16, 16)]


def test_a_window_of_the_images_size_changes_nothing() -> None:
    images, models = noise(20, 20), [Places(0.3, 0.1), Places(-0.2, 0.5)]
    assert torch.equal(ensemble(models, settings(window_size=20, window_stride=10))(images), ensemble(models, PLAIN)(images))
    assert torch.equal(ensemble(models[:1], settings(window_size=32, window_stride=8))(images), models[0](images))


def test_all_together_is_exact_for_a_model_of_single_pixels() -> None:
    images = torch.full((2, 1, 37, 50), 76 / 255)
    everything = settings(window_size=16, window_stride=9, hflip=True, vflip=True, scales=[0.7, 1.0, 1.5])
    assert torch.equal(ensemble([faithful, faithful], everything)(images), to_uint8(images))


def test_a_crf_refines_the_mean_by_the_image() -> None:
    """Half the image is bright and the network is a few pixels off; refined predictions follow the edge in the image."""
    images = torch.zeros(1, 1, 48, 48)
    images[..., 24:] = 0.8
    truth = images[0, 0] > 0.4

    def off(found: Tensor) -> Tensor:
        return (found.roll(4, -1) - 0.4) * 4

    crfs = (None, CrfParams(radius=24, bilateral_sigma=20))
    plain, refined = (ensemble([off], PLAIN.model_copy(update={"crf": crf}))(images)[0, 0] for crf in crfs)
    assert ((plain > 0) == truth).float().mean() < 0.95
    assert refined.dtype == torch.uint8 and ((refined > 127) == truth).float().mean() > 0.99


def test_exclusive_classes_join_as_the_mean_of_softmaxes() -> None:
    torch.manual_seed(0)
    models = [nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(1, 3, 1)]
    images = noise()
    views = [(model(images) * 5).softmax(1) for model in models]
    mirrored = [(model(images.flip(-1)) * 5).softmax(1).flip(-1)[:, [1, 0, 2]] for model in models]
    sharp = [lambda inputs, model=model: model(inputs) * 5 for model in models]
    with torch.inference_mode():
        assert torch.equal(ensemble(sharp[:1], PLAIN, exclusive=True)(images), to_uint8(views[0]))
        found = ensemble(sharp, settings(hflip=True), [1, 0, 2], exclusive=True)(images)
    assert steps_apart(found, to_uint8(torch.stack(views + mirrored).mean(0))) <= 1
