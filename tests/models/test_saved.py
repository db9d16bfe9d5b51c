"""A trained model on disk."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conftest import Fails
from handbone.models.registry import build_model
from handbone.models.saved import TrainedModelInfo, load_folds, load_model, save_model
from handbone.models.spec import ModelSpec

SPEC = ModelSpec("Unet", "tu-resnet10t", 1, ["a", "b"], {"decoder_channels": [16, 8, 8, 8, 8]})
INFO = TrainedModelInfo(SPEC, None, "0", "1", size=64, fold=3, epoch=7, dice=0.5)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return build_model(SPEC).state_dict()


def test_weights_and_description_survive_the_disk(tmp_path: Path) -> None:
    model = build_model(SPEC).eval()
    save_model(tmp_path, model.state_dict(), INFO)
    loaded, info = load_model(tmp_path)
    images = torch.rand(1, 1, 70, 50)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
    assert info == INFO and not loaded.training


def test_a_folder_without_a_model_is_refused(tmp_path: Path, fails: Fails) -> None:
    with fails("model.missing", str(tmp_path)):
        load_model(tmp_path)


def test_the_models_of_all_folds_are_loaded_by_fold(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    for fold in (1, 4):
        save_model(tmp_path / str(fold), weights, replace(INFO, fold=fold))
    models, infos = load_folds({fold: tmp_path / str(fold) for fold in (1, 4)}, ["a", "b"])
    assert list(models) == [1, 4] and [info.fold for info in infos] == [1, 4]


@pytest.mark.parametrize("classes", [["a", "c"], ["b", "a"], ["a"], ["a", "b", "c"]])
def test_a_model_with_other_classes_than_params_is_refused(
    classes: list[str], tmp_path: Path, weights: dict[str, torch.Tensor], fails: Fails
) -> None:
    """By name and order, even if their number is the same."""
    save_model(tmp_path, weights, INFO)
    with fails("model.classes", str(tmp_path)):
        load_folds({0: tmp_path}, classes)


def test_folds_of_different_sizes_are_refused(tmp_path: Path, weights: dict[str, torch.Tensor], fails: Fails) -> None:
    folders = {fold: tmp_path / str(fold) for fold in (0, 1)}
    for fold, folder in folders.items():
        save_model(folder, weights, replace(INFO, fold=fold, size=64 + fold))
    with fails("model.folds_differ", str(folders[1])):
        load_folds(folders, ["a", "b"])
