"""Every network that has a name keeps the one contract.

Shapes, gradients and precision are followed on the meta device, where nothing is computed. What has to be computed is, by networks that
are made thinner where they can be.
"""

from functools import lru_cache, partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from handbone.models import attention_unet, build_model, deconvnet, deeplab, dilatednet, fcdensenet, fcn, segnet, unet3plus, unet2015, vgg
from handbone.models.outputs import Outputs
from handbone.models.registry import ENTRIES
from handbone.models.saved import Settings, load_model, save_model
from handbone.training.deep_supervision import supervised
from handbone.training.losses import combined

COUNTS = {  # of 29 classes and 3 channels, on ResNet-34 where an encoder is to be chosen
    "Unet": 24_440_429, "UnetPlusPlus": 26_082_669, "MAnet": 31_787_693, "Linknet": 21_772_861, "FPN": 23_159_005,
    "PSPNet": 21_567_037, "PAN": 21_483_908, "DeepLabV3": 26_014_301, "DeepLabV3Plus": 22_444_653, "UPerNet": 29_606_877,
    "Segformer": 21_883_741, "DPT": 137_813_616, "EfficientUNet": 20_229_749,
    "SegformerB0": 3_721_597, "SegformerB1": 13_684_701, "SegformerB2": 27_368_925, "SegformerB3": 47_244_765,
    "SegformerB4": 64_015_325, "SegformerB5": 84_615_645,
    "FCN_ResNet50": 32_961_117, "FCN_ResNet101": 51_953_245, "DeepLabV3_ResNet50": 39_640_925, "DeepLabV3_ResNet101": 58_633_053,
    "DeepLabV3_MobileNet_V3_Large": 11_027_533, "LRASPP_MobileNet_V3_Large": 3_222_898,
    "FCN32s": 137_824_093, "FCN16s": 135_268_874, "FCN8s": 134_643_895, "SegNet": 29_459_741, "DeconvNet": 251_806_173,
    "DeepLabV1": 20_513_629, "DeepLabV2VGG": 37_910_452, "DeepLabV2ResNet101": 44_638_388, "DilatedNet": 134_440_837,
    "FCDenseNet56": 1_380_269, "FCDenseNet67": 3_468_445, "FCDenseNet103": 9_326_717,
    "UNet2015": 31_033_565, "UNet3Plus": 27_570_385, "AttentionUNet": 34_880_393, "ResUNet": 8_222_813,
    "HRNetW18": 9_643_829, "HRNetW32": 29_551_325, "HRNetW48": 65_866_589,
    "HRNetW18OCR": 12_088_658, "HRNetW32OCR": 32_963_834, "HRNetW48OCR": 70_385_018,
}  # fmt: skip
NAMES = list(ENTRIES)
OWN = NAMES[NAMES.index("FCN32s") :]
HEAVY = ("SegformerB3", "SegformerB4", "SegformerB5")  # take long to build, and differ from B2 in depth alone
# what the library's encoders have and its decoders do not use
UNUSED = {
    "PSPNet": ("encoder.layer3.", "encoder.layer4."),
    "DPT": ("encoder.model.",),
    "EfficientUNet": ("encoder._conv_head.", "encoder._bn1."),
}
SIZES = [(64, 64), (65, 97), (129, 131), (200, 257)]
STEPS = 300
LONG = ("DeconvNet", "DilatedNet", "FCDenseNet103", "HRNetW32", "HRNetW48", "HRNetW32OCR", "HRNetW48OCR")  # half a minute and more
RATES = {"SegNet": 3e-3, "DeconvNet": 3e-3, "FCDenseNet56": 3e-3, "FCDenseNet67": 3e-3, "UNet2015": 3e-3, "AttentionUNet": 1e-2}


def encoder(name: str) -> str | None:
    return "resnet34" if ENTRIES[name].encoder and name != "DPT" else None


@lru_cache(maxsize=1)
def on_meta(name: str) -> nn.Module:
    with torch.device("cpu" if name.startswith("Segformer") else "meta"):  # the library's transformers compute while they are built
        return build_model(name, encoder(name), in_channels=3, classes=29).to("meta")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in HEAVY else ()) for name in NAMES])
def test_without_computing_anything(name: str) -> None:
    """Parameters, shapes at odd and even sizes, gradients to all, half precision; one building for all, which is what takes time."""
    model = on_meta(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == COUNTS[name]
    model.eval()
    with torch.no_grad():
        for size in SIZES:
            assert model(torch.empty(2, 3, *size, device="meta")).shape == (2, 29, *size)
    model.train()
    found = model(torch.empty(1, 3, 65, 97, device="meta"))
    loss = supervised(combined({"bce": 1, "dice": 1}, [1.0] * 29))(
        found, torch.empty(1, 29, 65, 97, device="meta"), torch.ones(1, device="meta")
    )
    loss.backward()
    unreached = [
        key.removeprefix("network.") for key, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    assert [key for key in unreached if not key.startswith(UNUSED.get(name, ()))] == []
    halved = model.eval().bfloat16()(torch.empty(1, 3, 64, 64, device="meta", dtype=torch.bfloat16))
    assert halved.dtype == torch.bfloat16


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The widths that the networks share, a fraction of themselves, where full ones take minutes."""
    for module in (vgg, fcn, segnet, deconvnet):
        monkeypatch.setattr(module, "WIDTHS", (16, 16, 32, 32, 32))
    for module in (vgg, fcn, deconvnet, deeplab, dilatednet):
        monkeypatch.setattr(module, "FC_WIDTH", 256)
    for module in (fcn, dilatednet):
        monkeypatch.setattr(module, "Head", partial(vgg.Head, 256))
    for module in (unet2015, attention_unet, unet3plus):
        monkeypatch.setattr(module, "WIDTHS", (8, 16, 32, 64, 128))
    monkeypatch.setattr(unet3plus, "BRANCH", 8)
    monkeypatch.setattr(unet3plus, "FUSED", 40)
    monkeypatch.setattr(fcdensenet, "STEM", 16)
    for network in (fcdensenet.FCDenseNet56, fcdensenet.FCDenseNet67, fcdensenet.FCDenseNet103):
        monkeypatch.setattr(network, "growth", 4)
    monkeypatch.setattr(deeplab, "resnet101", partial(ResNet, Bottleneck, (1, 1, 2, 1)))


def batch(name: str) -> tuple[Tensor, Tensor]:
    """Two images of two overlapping classes, of the least size that the network takes; whole or half images where its scores are coarse."""
    side = max(64, ENTRIES[name].minimum)
    target = torch.zeros(2, 2, side, side)
    if name in ("FCN32s", "FCN16s", "DilatedNet"):
        target[0, 0] = target[:, 1] = 1
    else:
        target[0, 0, : side // 2] = 1
        target[1, 0, :, side // 2 :] = 1
        target[0, 1, side // 4 :, side // 4 :] = 1
    images = 0.2 + target.sum(1, keepdim=True) * 0.3 + 0.1 * torch.rand(2, 1, side, side)
    return images, target


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in OWN])
def test_a_small_batch_can_be_learnt_by_heart(name: str) -> None:
    """From random weights, in a fixed number of steps the loss falls to a tenth; every parameter has moved by then, and bf16 is finite."""
    torch.manual_seed(0)
    model = build_model(name, in_channels=1, classes=2).train()
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters() if parameter.requires_grad}
    images, target = batch(name)
    loss = supervised(combined({"bce": 1, "dice": 1}, [1.0, 1.0]))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATES.get(name, 1e-3))
    losses: list[float] = []
    while len(losses) < STEPS and (not losses or losses[-1] > 0.1 * losses[0]):
        found = loss(model(images), target, torch.ones(2))
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        losses.append(float(found.detach()))
    assert losses[-1] <= 0.1 * losses[0], [round(value, 3) for value in losses]
    moved = dict(model.named_parameters())
    assert [key for key, parameter in before.items() if torch.equal(parameter, moved[key])] == []
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert model.eval()(images).isfinite().all()


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in HEAVY])
def test_saved_and_loaded_it_gives_the_same(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(name, encoder(name), in_channels=1, classes=2).eval()
    images = torch.rand(1, 1, 70, 65)
    save_model(tmp_path, model.state_dict(), Settings(name, encoder(name), 1, ["a", "b"], {}, "none", "", "", 64, 0, 1, 0.5))
    with torch.no_grad():
        expected = model(images)
        assert torch.equal(load_model(tmp_path)[0](images), expected)


def test_a_batch_of_one_image_trains_where_pooling_leaves_one_value() -> None:
    for name in ("DeepLabV3Plus", "PAN", "UPerNet"):
        model = build_model(name, "resnet18", in_channels=1, classes=2).train()
        model(torch.rand(1, 1, 64, 64)).sum().backward()
        assert all(module.training for module in model.modules())


def test_auxiliary_outputs_are_only_given_in_training() -> None:
    model = on_meta("UNet3Plus")
    assert isinstance(model.train()(torch.empty(1, 3, 64, 64, device="meta")), Outputs)
    assert isinstance(model.eval()(torch.empty(1, 3, 64, 64, device="meta")), Tensor)
