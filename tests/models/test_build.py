"""Building by name, and the way of a model to the disk and back."""

from pathlib import Path

import pytest
import torch

from handbone.models import build_model
from handbone.models.saved import Settings, load_model, save_model
from handbone.utils.errors import UserError


def test_weights_survive_the_disk(tmp_path: Path) -> None:
    model = build_model("Unet", "resnet18", in_channels=1, classes=2, decoder_channels=[32, 16, 16, 8, 8]).eval()
    settings = Settings("Unet", "resnet18", 1, ["a", "b"], {"decoder_channels": [32, 16, 16, 8, 8]}, "none", "0", "1", 64, 3, 7, 0.5)
    save_model(tmp_path, model.state_dict(), settings)
    loaded, found = load_model(tmp_path)
    images = torch.rand(1, 1, 70, 50)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
    assert found == settings and not loaded.training


def test_normalisation_is_the_encoders_own() -> None:
    assert build_model("Unet", "tu-tf_efficientnet_lite0").mean.ravel().tolist() == [0.5, 0.5, 0.5]
    assert build_model("Unet", "resnet18").mean.ravel().tolist() == pytest.approx([0.485, 0.456, 0.406])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"arch": "Unett"}, "did you mean Unet"),
        ({"arch": "Unet", "encoder": "resnet35"}, "did you mean resnet"),
        ({"arch": "Unet", "encoder": "tu-nothing_of_the_kind"}, "choose others"),
        ({"arch": "Unet", "encoder": "resnet18", "no_such_option": 3}, "no_such_option"),
        ({"arch": "Unet", "encoder": "resnet18", "weights": "imagnet"}, "none, imagenet or a file"),
    ],
)
def test_what_cannot_be_built_is_one_clear_error(arguments: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        build_model(**arguments)


def test_no_trained_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro"):
        load_model(tmp_path)
