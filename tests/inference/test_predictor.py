"""Batches, their order, and what goes on at once."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handbone.cache.sample import CachedSample, write_sample
from handbone.inference.predictor import InputSpec, from_model, predict
from handbone.masks.cropped_maps import CroppedMaps


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_images_of_mixed_shapes_come_out_in_order(tmp_path: Path, batch_size: int) -> None:
    shapes = [(40, 60), (40, 60), (60, 40), (20, 30), (40, 60)]
    files = []
    for index, shape in enumerate(shapes):
        files.append(tmp_path / f"{index}.npz")
        write_sample(files[-1], CachedSample(np.full(shape, 40 * index, np.uint8), shape, None))
    feed = InputSpec(30, 1, batch_size, torch.device("cpu"))
    found = list(predict(from_model(nn.Identity()), files, feed, lambda index, probabilities: (index, probabilities)))
    assert [index for index, _ in found] == list(range(5))
    assert [probabilities.shape for _, probabilities in found] == [(20, 30), (20, 30), (30, 20), (20, 30), (20, 30)]
    for index, probabilities in found:
        expected = round(255 / (1 + np.exp(-40 * index / 255)))
        assert np.unique(probabilities.dense()).tolist() == [expected]


def test_grey_is_repeated_for_a_network_of_three_channels(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.npz", CachedSample(np.full((20, 30), 255, np.uint8), (20, 30), None))
    feed = InputSpec(30, 3, 1, torch.device("cpu"))
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

    def finish(index: int, probabilities: CroppedMaps) -> bool:
        return third_ran.wait(10)

    feed = InputSpec(8, 1, 1, torch.device("cpu"))
    assert list(predict(network, [tmp_path / f"{index}.npz" for index in range(3)], feed, finish)) == [True] * 3
