"""Building networks by name, and the one file and one line of a new network."""

from pathlib import Path
from typing import Any

import pytest
import torch

import handbone.models.nets
from conftest import Fails, build
from handbone.models import registry
from handbone.models.registry import ENTRIES, canonical

MINE = '''
"""A network of a user."""

from torch import Tensor, nn


class Mine(nn.Module):
    """A quarter of the image's size."""

    def __init__(self, in_channels: int, classes: int, width: int = 8, scale: float = 1.0) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width to be at least 1; it is {width}")
        self.layers = nn.Sequential(nn.Conv2d(in_channels, width, 4, stride=4), nn.ReLU(), nn.Conv2d(width, classes, 1))
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images) * self.scale
'''


@pytest.mark.parametrize(
    ("spelled", "name"),
    [("unet", "Unet"), ("UNET++", "UnetPlusPlus"), ("deeplabv3+", "DeepLabV3Plus"), ("hrnet-w48-ocr", "HRNetW48OCR"), ("fcn_8s", "FCN8s")],
)
def test_letter_case_and_hyphens_do_not_matter(spelled: str, name: str) -> None:
    assert canonical(spelled) == name


def test_no_two_names_differ_only_in_letter_case_and_hyphens() -> None:
    assert len({canonical(name) for name in ENTRIES}) == len(ENTRIES)


def test_an_unknown_name_is_refused_with_the_nearest_one(fails: Fails) -> None:
    with fails("model.arch", "model.arch") as caught:
        canonical("SegNett")
    assert "SegNet?" in caught.value.problems[0].fix


@pytest.mark.parametrize(
    ("arguments", "code", "place"),
    [
        ({"arch": "Unett"}, "model.arch", "model.arch"),
        ({"arch": "Unet", "encoder": "resnet35"}, "model.encoder", "model.encoder"),
        ({"arch": "Unet", "encoder": "tu-nothing_of_the_kind"}, "model.build", "model"),
        ({"arch": "Unet", "encoder": "resnet18", "no_such_option": 3}, "model.option", "model.options.Unet"),
        ({"arch": "Unet", "encoder": "resnet18", "weights": "imagnet"}, "weights.missing", "model.weights"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(arguments: dict[str, Any], code: str, place: str, fails: Fails) -> None:
    with fails(code, place):
        build(**arguments)


def test_the_normalisation_is_that_of_the_encoder() -> None:
    assert build("Unet", "tu-tf_efficientnet_lite0").mean.ravel().tolist() == [0.5, 0.5, 0.5]
    assert build("Unet", "resnet18").mean.ravel().tolist() == pytest.approx([0.485, 0.456, 0.406])


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/models.md says: a file among the networks, and a line in the registry."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.setattr(handbone.models.nets, "__path__", [*handbone.models.nets.__path__, str(tmp_path)])
    monkeypatch.setitem(ENTRIES, "Mine", registry._net("mine", "Mine", 16))


@pytest.mark.usefixtures("mine")
def test_a_new_network_takes_one_file_and_one_line() -> None:
    model = build("mine", in_channels=1, classes=5, width=4, scale=2).eval()  # a whole number can stand for any number
    assert model(torch.rand(2, 1, 33, 50)).shape == (2, 5, 33, 50)


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("arguments", "code", "place"),
    [
        ({"widht": 3}, "model.option", "model.options.Mine"),
        ({"width": 0}, "model.option", "model.options.Mine"),
        ({"width": "x"}, "model.option", "model.options.Mine.width"),
        ({"width": 2.0}, "model.option", "model.options.Mine.width"),
        ({"width": True}, "model.option", "model.options.Mine.width"),
        ({"scale": None}, "model.option", "model.options.Mine.scale"),
        ({"weights": "imagenet"}, "weights.unsupported", "model.weights"),
    ],
)
def test_arguments_that_a_network_cannot_use_are_refused(arguments: dict[str, Any], code: str, place: str, fails: Fails) -> None:
    with fails(code, place):
        build("mine", **arguments)


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("UNet2015", {"widths": [8, 16, 32]}),
        ("AttentionUNet", {"widths": [8, 16, 0, 64, 128]}),
        ("UNet3Plus", {"branch_width": 0}),
        ("UNet3Plus", {"widths": [8, 16, "32", 64, 128]}),
        ("ResUNet", {"widths": 64}),
        ("FCN8s", {"fc_width": -1}),
        ("SegNet", {"widths": []}),
        ("FCDenseNet56", {"growth": 0}),
        ("DeepLabV2ResNet101", {"depths": [3, 4, 23]}),
        ("UNet2015", {"padding": "reflect"}),
        ("DilatedNet", {"context": "huge"}),
        ("FCDenseNet56", {"dropout": 2}),
        *(("DeepLabV2VGG", {"rates": rates}) for rates in ([], [6, 0], [1.5], "6")),
        ("FCN_ResNet50", {"aux_loss": "yes"}),
        ("LRASPP_MobileNet_V3_Large", {"aux_loss": True}),
    ],
)
def test_options_that_a_network_cannot_use_are_refused(arch: str, options: dict[str, Any], fails: Fails) -> None:
    with torch.device("meta"), fails("model.option", f"model.options.{arch}"):
        build(arch, **options)
