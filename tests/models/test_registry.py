"""Names, and the one file and one line that a new network takes."""

from pathlib import Path

import pytest
import torch
from torch import nn

import handbone.models
from handbone.models import build_model, registry, smp
from handbone.models.outputs import Parts
from handbone.models.registry import ENTRIES, canonical
from handbone.utils.errors import UserError

MINE = '''
"""A network of one's own."""

from torch import Tensor, nn


class Mine(nn.Module):
    """A quarter of the image's size."""

    def __init__(self, in_channels: int, classes: int, width: int = 8) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width to be at least 1; it is {width}")
        self.layers = nn.Sequential(nn.Conv2d(in_channels, width, 4, stride=4), nn.ReLU(), nn.Conv2d(width, classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
'''


@pytest.mark.parametrize(
    ("spelled", "name"),
    [("unet", "Unet"), ("UNET++", "UnetPlusPlus"), ("deeplabv3+", "DeepLabV3Plus"), ("hrnet-w48-ocr", "HRNetW48OCR"), ("fcn_8s", "FCN8s")],
)
def test_letter_case_and_hyphens_do_not_matter(spelled: str, name: str) -> None:
    assert canonical(spelled) == name


def test_no_two_names_are_told_apart_by_these_alone() -> None:
    assert len({canonical(name) for name in ENTRIES}) == len(ENTRIES)


def test_an_unknown_name_is_told_its_nearest() -> None:
    with pytest.raises(UserError, match=r"did you mean SegNet\?"):
        canonical("SegNett")


@pytest.mark.parametrize(
    ("name", "encoder", "options"),
    [
        ("SegformerB0", "mit_b0", {}),
        ("SegformerB1", "mit_b1", {}),
        *((f"SegformerB{size}", f"mit_b{size}", {"decoder_segmentation_channels": 768}) for size in (2, 3, 4, 5)),
    ],
)
def test_segformers_from_b2_on_decode_with_the_papers_768_channels(
    name: str, encoder: str, options: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own default is 256; the large ones take long to build, so that what is asked of the library is looked at."""
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(smp, "build_smp", lambda *arguments: asked.append(arguments) or Parts(nn.Identity(), [0.0], [1.0]))
    build_model(name, in_channels=1, classes=2)
    assert asked == [("segformer", encoder, None, 1, 2, options)]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/models.md says: a file among the networks, and a line in the registry."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.setattr(handbone.models, "__path__", [*handbone.models.__path__, str(tmp_path)])
    monkeypatch.setitem(ENTRIES, "Mine", registry._own("mine", "Mine", 16))


@pytest.mark.usefixtures("mine")
def test_a_new_network_takes_one_file_and_one_line() -> None:
    model = build_model("mine", in_channels=1, classes=5, width=4).eval()
    assert model(torch.rand(2, 1, 33, 50)).shape == (2, 5, 33, 50)


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"widht": 3}, r"did you mean width\?"),
        ({"width": 0}, "width to be at least 1"),
        ({"width": "x"}, "options of Mine with values that it can use"),
        ({"weights": "imagenet"}, "no pretrained parts"),
    ],
)
def test_what_it_cannot_do_is_one_clear_error(arguments: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        build_model("mine", **arguments)
