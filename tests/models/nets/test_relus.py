"""Every network applies ReLU as often as its structure says: a missing ReLU changes no shape and no number of parameters."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from conftest import build
from handbone.models.nets import hrnet

VGG = 2 + 2 + 3 + 3 + 3  # convolutions of the trunk
FC = 2  # fc6 and fc7
CONTEXT = 7  # convolutions of 3x3
UNET = 2 * (5 + 4)  # two convolutions a level, down and up
DENSE = 1 + 5 + 1  # of FC-DenseNet's convolutions, the first one, the upward ones and the last one have no ReLU
RESNET101 = 1 + 3 * (3 + 4 + 23 + 3)
CASES: list[tuple[str, dict[str, Any], int]] = [
    ("FCN32s", {}, VGG + FC),
    ("FCN16s", {}, VGG + FC),
    ("FCN8s", {}, VGG + FC),
    (
        "DeconvNet",
        {},
        VGG + FC + 1 + VGG,
    ),  # one layer mirrors fc6, and the decoder mirrors the trunk; the scores have a further convolution
    ("SegNet", {}, VGG + VGG - 1),  # the last of the mirrored convolutions computes the scores
    ("DeepLabV1", {}, VGG + FC),
    ("DeepLabV2VGG", {}, VGG + 4 * FC),
    ("DeepLabV2ResNet101", {}, 3 * RESNET101),  # at three scales
    ("DilatedNet", {"context": "none"}, VGG + FC),
    ("DilatedNet", {"context": "basic"}, VGG + FC + CONTEXT),
    ("DilatedNet", {"context": "large"}, VGG + FC + CONTEXT),
    ("FCDenseNet56", {}, 56 - DENSE),
    ("FCDenseNet67", {}, 67 - DENSE),
    ("FCDenseNet103", {}, 103 - DENSE),
    ("UNet2015", {"padding": "valid"}, UNET),
    ("UNet2015", {"padding": "same"}, UNET),
    ("AttentionUNet", {}, UNET + 4 + 4),  # a convolution after each enlargement, and a gate on each skip
    ("UNet3Plus", {}, 2 * 5 + 4 * (5 + 1)),  # each decoder node reduces five sources to one width, and fuses them
    ("ResUNet", {}, 2 * (4 + 3) - 1),  # two before the convolutions of each unit, but none before the image's
    ("HRNetW18", {}, 1),
    ("HRNetW18OCR", {}, 1 + 1 + (2 + 2 + 1 + 1) + 1),  # coarse scores, pixels, (query, key, value, enlarge), both together
]


class Rectified(TorchFunctionMode):
    """Counts the calls of ReLU, by whatever name."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.__name__ in ("relu", "relu_")
        return func(*args, **(kwargs or {}))


class Branches(nn.Module):
    """Replaces HRNet's trunk, which is timm's and takes seconds to build: maps of its four sizes."""

    def __init__(self, width: int, *_: object) -> None:
        super().__init__()
        self.width = width

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images.new_empty(1, factor * self.width, 8 // factor, 8 // factor) for factor in (1, 2, 4, 8)]


@pytest.mark.parametrize(("name", "options", "expected"), CASES)
@torch.no_grad()
def test_relu_is_applied_as_often_as_the_structure_says(
    name: str, options: dict[str, Any], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hrnet, "_trunk", Branches)
    with torch.device("meta"):
        model = build(name, in_channels=1, classes=2, **options).eval()
        with Rectified() as rectified:
            model(torch.empty(1, 1, 32, 32))
    assert rectified.count == expected
