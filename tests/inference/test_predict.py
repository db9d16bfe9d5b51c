"""Batches, flips and the mean over models."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handbone.data.cache import CachedSample, write_sample
from handbone.inference.predict import predict, single
from handbone.inference.tta import ensemble


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
    assert torch.allclose(ensemble(models, hflip=False)(images), straight / 2)
    assert torch.allclose(ensemble(models, hflip=True)(images), (straight + mirrored) / 4)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_images_of_mixed_shapes_come_out_in_order(tmp_path: Path, batch_size: int) -> None:
    shapes = [(40, 60), (40, 60), (60, 40), (20, 30), (40, 60)]
    files = []
    for index, shape in enumerate(shapes):
        files.append(tmp_path / f"{index}.npz")
        write_sample(files[-1], CachedSample(np.full(shape, 40 * index, np.uint8), shape, None))
    found = list(predict(single(nn.Identity()), files, 30, 1, batch_size, torch.device("cpu")))
    assert [probabilities.shape for probabilities in found] == [(20, 30), (20, 30), (30, 20), (20, 30), (20, 30)]
    for index, probabilities in enumerate(found):
        expected = round(255 / (1 + np.exp(-40 * index / 255)))
        assert np.unique(probabilities.dense()).tolist() == [expected]
