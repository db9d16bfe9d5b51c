"""Batches, flips and the mean over models."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handbone.data.cache import CachedSample, write_sample
from handbone.inference.predict import Feed, predict, single
from handbone.inference.probabilities import Probabilities
from handbone.inference.tta import ensemble
from handbone.params import CrfParams


class Left(nn.Module):
    """Logits that grow to the right, whatever the image: not symmetric on purpose."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        return (torch.arange(images.shape[-1]) * self.scale + images).expand(-1, 2, -1, -1)


def test_ensemble_is_the_mean_over_models_and_mirrored_images() -> None:
    images = torch.rand(2, 1, 4, 6)
    models = [Left(0.3), Left(-0.2)]
    straight = sum(model(images).sigmoid() for model in models)
    mirrored = sum(model(images.flip(-1)).sigmoid().flip(-1) for model in models)
    assert torch.equal(ensemble(models, hflip=False)(images), (straight / 2 * 255).round().to(torch.uint8))
    assert torch.equal(ensemble(models, hflip=True)(images), ((straight + mirrored) / 4 * 255).round().to(torch.uint8))
    assert torch.equal(ensemble(models[:1], hflip=False)(images), models[0](images))


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_images_of_mixed_shapes_come_out_in_order(tmp_path: Path, batch_size: int) -> None:
    shapes = [(40, 60), (40, 60), (60, 40), (20, 30), (40, 60)]
    files = []
    for index, shape in enumerate(shapes):
        files.append(tmp_path / f"{index}.npz")
        write_sample(files[-1], CachedSample(np.full(shape, 40 * index, np.uint8), shape, None))
    feed = Feed(30, 1, batch_size, torch.device("cpu"))
    found = list(predict(single(nn.Identity()), files, feed, lambda index, probabilities: (index, probabilities)))
    assert [index for index, _ in found] == list(range(5))
    assert [probabilities.shape for _, probabilities in found] == [(20, 30), (20, 30), (30, 20), (20, 30), (20, 30)]
    for index, probabilities in found:
        expected = round(255 / (1 + np.exp(-40 * index / 255)))
        assert np.unique(probabilities.dense()).tolist() == [expected]


def test_grey_is_repeated_for_a_network_of_three_channels(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.npz", CachedSample(np.full((20, 30), 255, np.uint8), (20, 30), None))
    feed = Feed(30, 3, 1, torch.device("cpu"))
    (found,) = predict(lambda images: (images * 255).to(torch.uint8), [tmp_path / "a.npz"], feed, lambda _, probabilities: probabilities)
    assert (found.dense() == 255).all() and found.dense().shape == (3, 20, 30)


def test_finishing_runs_beside_the_network(tmp_path: Path) -> None:
    """The first image is still being finished when the network runs on the third: neither waits for the other."""
    for index in range(3):
        write_sample(tmp_path / f"{index}.npz", CachedSample(np.full((8, 8), index, np.uint8), (8, 8), None))
    third_ran, calls = threading.Event(), []

    def network(images: Tensor) -> Tensor:
        calls.append(len(images))
        if len(calls) == 3:
            third_ran.set()
        return images.to(torch.uint8)

    def finish(index: int, probabilities: Probabilities) -> bool:
        return third_ran.wait(10)

    feed = Feed(8, 1, 1, torch.device("cpu"))
    assert list(predict(network, [tmp_path / f"{index}.npz" for index in range(3)], feed, finish)) == [True] * 3


def test_a_crf_refines_the_mean_by_the_image() -> None:
    """Half the image is bright, and the network is a few pixels off; predictions keep to the edge that the image has."""
    images = torch.zeros(1, 1, 48, 48)
    images[..., 24:] = 0.8
    truth = images[0, 0] > 0.4
    off = nn.Conv2d(1, 1, 1)
    off.forward = lambda found: (found.roll(4, -1) - 0.4) * 4  # type: ignore[method-assign]
    plain, refined = (ensemble([off], hflip=False, crf=crf)(images)[0, 0] for crf in (None, CrfParams(radius=24, bilateral_sigma=20)))
    assert ((plain > 0) == truth).float().mean() < 0.95
    assert refined.dtype == torch.uint8 and ((refined > 127) == truth).float().mean() > 0.99
