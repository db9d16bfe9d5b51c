"""An image reaches the networks as stage preprocess and the cache would bring it there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from handbone.cache.sample import write_sample
from handbone.config.params import parse_params
from handbone.dataset.layout import Sample
from handbone.dataset.preprocess import PreprocessSpec, prepare_sample
from handbone.evaluation.decision import Decision
from handbone.inference.predictor import InputSpec, predict
from handbone.models.registry import build_model, spec_from_params
from handbone.models.saved import WEIGHTS, TrainedModelInfo, save_model
from handbone.prediction.model import Model
from handbone.prediction.model_set import ModelSet
from handbone.prediction.pictures import Picture, read
from handbone.utils.hashing import file_hash


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("clahe", [None, 2.0])
@pytest.mark.parametrize("size", [None, 40])
def test_pixels_are_those_of_the_cache(tmp_path: Path, channels: int, colour: bool, clahe: float | None, size: int | None) -> None:
    image = np.random.default_rng(0).integers(0, 256, (53, 80, 3) if colour else (53, 80), np.uint8)
    cv2.imwrite(str(tmp_path / "x.png"), image)
    spec = PreprocessSpec(["a"], True, size, channels, clahe)
    sample = Sample("test", "A/x", tmp_path / "x.png", None)
    write_sample(tmp_path / "x.npz", prepare_sample(sample, spec))
    seen: list[torch.Tensor] = []

    def network(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return images[:, :1]

    list(predict(network, {"x": tmp_path / "x.npz"}, InputSpec(32, channels, 1, torch.device("cpu"))))
    found = small_model(tmp_path, channels, clahe, size).prepare("x", read(Picture("x.png", "x", tmp_path / "x.png"), None))
    assert found.shape == (53, 80)
    assert torch.equal(found.pixels[None].float() / 255, seen[0])


def small_model(folder: Path, channels: int, clahe: float | None, size: int | None) -> Model:
    network = {"arch": "UNet2015", "in_channels": channels, "options": {"UNet2015": {"widths": [2, 2, 2, 2, 2]}}}
    document = {"data": {"classes": ["a"]}, "folds": [0], "model": network, "train": {"size": 32}}
    params = parse_params(document | {"preprocess": {"clahe": clahe, "size": size}}, "x.json")
    spec = spec_from_params(params.model, ["a"])
    save_model(folder / "fold_0", build_model(spec).state_dict(), TrainedModelInfo(spec, None, None, "", 32, 0, 1, 0.5))
    return Model(ModelSet(folder / "x.json", params, Decision(0.5), {0: folder / "fold_0"}, {0: file_hash(folder / "fold_0" / WEIGHTS)}))
