"""A trained model on disk: what is written is what is read, and nothing else is accepted."""

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import Fails
from handbone.models.registry import build_model
from handbone.models.saved import INFO, WEIGHTS, TrainedModelInfo, load_folds, load_model, read_info, save_model
from handbone.models.spec import ModelSpec
from handbone.utils.errors import UserError
from handbone.utils.hashing import file_hash

SPEC = ModelSpec("Unet", "tu-resnet10t", 1, ["a", "b"], {"decoder_channels": [16, 8, 8, 8, 8]})
TRAINED = TrainedModelInfo(SPEC, None, None, "1", size=64, fold=0, epoch=7, dice=0.5)
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return build_model(SPEC).state_dict()


def load(folders: dict[int, Path], spec: ModelSpec = SPEC, size: int = 64) -> list[int]:
    """The folds whose models are loaded."""
    models, infos = load_folds(folders, spec, size, 64)
    assert [info.fold for info in infos] == list(models)
    return list(models)


def test_weights_and_description_survive_the_disk(tmp_path: Path) -> None:
    """In the memory format in which it was trained: the last bits of a convolution's result depend on it."""
    model = build_model(SPEC).eval().to(memory_format=torch.channels_last)
    save_model(tmp_path, model.state_dict(), TRAINED)
    loaded, info = load_model(tmp_path)
    images = torch.rand(1, 1, 70, 50)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in loaded.parameters() if weight.dim() == 4)
    assert info == replace(TRAINED, sha256=file_hash(tmp_path / WEIGHTS)) and not loaded.training


def test_the_weights_have_the_bytes_of_the_library_and_the_mode_of_a_new_file(tmp_path: Path, weights: Weights) -> None:
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, tmp_path / "plain")
    (tmp_path / "new").touch()
    save_model(tmp_path, weights, TRAINED)
    assert (tmp_path / WEIGHTS).read_bytes() == (tmp_path / "plain").read_bytes()
    mode = stat.S_IMODE((tmp_path / "new").stat().st_mode)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in (WEIGHTS, INFO)] == [mode, mode]


def test_a_folder_without_a_model_is_refused(tmp_path: Path, fails: Fails) -> None:
    with fails("model.missing", str(tmp_path)):
        load_model(tmp_path)


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("place", [0, 20, -3, -5000])
def test_a_flipped_byte_of_the_weights_is_an_error(place: int, tmp_path: Path, weights: Weights, fails: Fails) -> None:
    save_model(tmp_path, weights, TRAINED)
    flip(tmp_path / WEIGHTS, place)
    with fails("model.corrupt", WEIGHTS):
        load({0: tmp_path})


def test_half_of_the_weights_is_an_error(tmp_path: Path, weights: Weights, fails: Fails) -> None:
    save_model(tmp_path, weights, TRAINED)
    os.truncate(tmp_path / WEIGHTS, 5000)
    with fails("model.corrupt", WEIGHTS):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["spec"]["classes"].reverse(),
        lambda document: document.update(fold=1),
        lambda document: document["spec"].update(in_channels=3),
        lambda document: document.pop("dice"),
        lambda document: document.pop("checksum"),
        lambda document: document.update(more=1),
    ],
)
def test_a_description_that_was_edited_is_an_error(
    change: Callable[[dict[str, object]], object], tmp_path: Path, weights: Weights, fails: Fails
) -> None:
    save_model(tmp_path, weights, TRAINED)
    document = json.loads((tmp_path / INFO).read_text())
    change(document)
    (tmp_path / INFO).write_text(json.dumps(document))
    with fails("model.info", INFO):
        load({0: tmp_path})


def test_a_description_that_is_no_json_object_is_an_error(tmp_path: Path, weights: Weights) -> None:
    for text in ("[]", '"x"', "null", "{", ""):
        save_model(tmp_path, weights, TRAINED)
        (tmp_path / INFO).write_text(text)
        with pytest.raises(UserError):
            read_info(tmp_path)


def test_weights_that_are_not_finite_are_named_by_fold_and_tensor(tmp_path: Path, weights: Weights, fails: Fails) -> None:
    """One NaN in one fold's weights would empty the masks of the whole ensemble."""
    name = "network.segmentation_head.0.bias"
    save_model(tmp_path / "fold_0", weights, TRAINED)
    save_model(tmp_path / "fold_1", weights | {name: torch.tensor([0.0, torch.nan])}, replace(TRAINED, fold=1))
    with fails("weights.not_finite", f"fold_1/{WEIGHTS}: {name}"):
        load({fold: tmp_path / f"fold_{fold}" for fold in (0, 1)})
    assert load({0: tmp_path / "fold_0"}) == [0]


def test_weights_of_another_network_are_an_error(tmp_path: Path, weights: Weights, fails: Fails) -> None:
    save_model(tmp_path, weights, replace(TRAINED, spec=replace(SPEC, in_channels=3)))
    with fails("weights.mismatch", "conv1"):
        load_model(tmp_path)


def test_the_models_of_all_folds_are_loaded_by_fold(tmp_path: Path, weights: Weights) -> None:
    for fold in (1, 4):
        save_model(tmp_path / str(fold), weights, replace(TRAINED, fold=fold))
    assert load({fold: tmp_path / str(fold) for fold in (4, 1)}) == [4, 1]


def test_every_model_that_cannot_be_used_is_listed(tmp_path: Path, weights: Weights) -> None:
    for fold in (0, 1, 2):
        save_model(tmp_path / str(fold), weights, replace(TRAINED, fold=fold))
    flip(tmp_path / "1" / WEIGHTS, -1)
    flip(tmp_path / "2" / WEIGHTS, -1)
    with pytest.raises(UserError) as caught:
        load({fold: tmp_path / str(fold) for fold in (0, 1, 2)})
    assert caught.value.places == [str(tmp_path / "1" / WEIGHTS), str(tmp_path / "2" / WEIGHTS)]


@pytest.mark.parametrize("classes", [["a", "c"], ["b", "a"], ["a"], ["a", "b", "c"]])
def test_a_model_with_other_classes_than_params_is_refused(classes: list[str], tmp_path: Path, weights: Weights, fails: Fails) -> None:
    """By name and order, even if their number is the same."""
    save_model(tmp_path, weights, TRAINED)
    with fails("model.classes", str(tmp_path)):
        load({0: tmp_path}, replace(SPEC, classes=classes))


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        (replace(SPEC, arch="FPN"), 64),
        (replace(SPEC, encoder="resnet18"), 64),
        (replace(SPEC, in_channels=3), 64),
        (replace(SPEC, options={}), 64),
        (SPEC, 96),
    ],
)
def test_a_model_of_another_network_than_params_is_refused(
    spec: ModelSpec, size: int, tmp_path: Path, weights: Weights, fails: Fails
) -> None:
    save_model(tmp_path, weights, TRAINED)
    with fails("model.params", str(tmp_path)):
        load({0: tmp_path}, spec, size)


def test_another_folds_model_is_refused(tmp_path: Path, weights: Weights, fails: Fails) -> None:
    save_model(tmp_path / "fold_1", weights, TRAINED)
    with fails("model.fold", "fold_1"):
        load({1: tmp_path / "fold_1"})


def test_models_of_different_tables_of_folds_are_refused(tmp_path: Path, weights: Weights, fails: Fails) -> None:
    for fold in (0, 1):
        save_model(tmp_path / str(fold), weights, replace(TRAINED, fold=fold, folds_sha256=str(fold)))
    with fails("model.other_folds", str(tmp_path / "1")):
        load({fold: tmp_path / str(fold) for fold in (0, 1)})


def test_models_of_other_folds_than_those_of_today_are_refused(tmp_path: Path, weights: Weights, fails: Fails) -> None:
    """Held-out people may have been trained on."""
    folds = tmp_path / "folds.csv"
    folds.write_text("key,person,fold\n")
    save_model(tmp_path / "0", weights, replace(TRAINED, folds_sha256=file_hash(folds)))
    load_folds({0: tmp_path / "0"}, SPEC, 64, 64, folds)
    folds.write_text("key,person,fold\na/1,a,0\n")
    with fails("model.other_folds", str(tmp_path / "0")):
        load_folds({0: tmp_path / "0"}, SPEC, 64, 64, folds)
    assert load({0: tmp_path / "0"}) == [0]


def test_what_is_saved_can_be_read_by_others(tmp_path: Path, weights: Weights) -> None:
    save_model(tmp_path, weights, TRAINED)
    assert load_file(tmp_path / WEIGHTS).keys() == weights.keys()
