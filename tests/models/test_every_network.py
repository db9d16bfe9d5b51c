"""Every network of the registry keeps the one contract.

Shapes, gradients and precision are checked on the meta device, where nothing is computed. The other tests use networks with few channels or
layers, if the network has such an option.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from conftest import build
from handbone.models.outputs import Outputs
from handbone.models.registry import ENTRIES, build_model
from handbone.models.saved import TrainedModelInfo, load_model, save_model
from handbone.models.spec import ModelSpec
from handbone.models.wrapper import SegmentationModel
from handbone.training.deep_supervision import DeepSupervisionLoss
from handbone.training.losses import build_loss
from small_networks import SMALL

COUNTS = {  # parameters with 29 classes and 3 channels, on ResNet-34 if the network takes an encoder
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
NETS = NAMES[NAMES.index("FCN32s") :]  # the networks of models/nets
HRNETS = ("HRNetW32", "HRNetW48", "HRNetW32OCR", "HRNetW48OCR")
SLOW_TO_BUILD = ("SegformerB3", "SegformerB4", "SegformerB5", *HRNETS)
# larger versions of another network in the registry, which take long and show nothing else when they are computed
LARGER = ("SegformerB1", "SegformerB2", *SLOW_TO_BUILD, "FCN_ResNet101", "DeepLabV3_ResNet101")
PRETRAINABLE = (*NAMES[: NAMES.index("FCDenseNet56")], *(name for name in NETS if name.startswith("HRNet")))
PARTS = ("network.encoder.", "network.trunk.", "network.network.backbone.")  # that may be pretrained
# parts of the library's encoders that its decoders do not use
UNUSED = {
    "PSPNet": ("encoder.layer3.", "encoder.layer4."),
    "DPT": ("encoder.model.",),
    "EfficientUNet": ("encoder._conv_head.", "encoder._bn1."),
}
SIZES = [(64, 64), (65, 97), (129, 131), (200, 257)]  # a network of divisor 32 sees only multiples of it: there one odd size is enough
STEPS = 300
SLOW_TO_TRAIN = ("DeconvNet", "DilatedNet", "FCDenseNet103", *HRNETS)  # ten seconds and more, or larger versions
RATES = {"SegNet": 3e-3, "DeconvNet": 3e-3, "FCDenseNet56": 3e-3, "FCDenseNet67": 3e-3, "UNet2015": 3e-3, "AttentionUNet": 1e-2}


def encoder(name: str) -> str | None:
    return "resnet34" if ENTRIES[name].takes_encoder and name != "DPT" else None


@lru_cache(maxsize=1)
def on_meta(name: str) -> SegmentationModel:
    with torch.device("cpu" if name.startswith("Segformer") else "meta"):  # the library's transformers compute while they are built
        return build(name, encoder(name)).to("meta")


def check_stages(model: SegmentationModel, pretrainable: bool) -> None:
    """The stages list each parameter of the part that may be pretrained once, from the image on."""
    listed = [parameter for stage in model.encoder_stages for parameter in stage]
    expected = [parameter for parameter, _ in model.named_parameters() if parameter.startswith(PARTS)] if pretrainable else []
    assert all(model.encoder_stages) and sorted(listed) == sorted(expected) and listed[:1] == expected[:1]


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW_TO_BUILD else ()) for name in NAMES])
def test_counts_stages_shapes_gradients_and_precision_on_the_meta_device(name: str) -> None:
    """One test, as building takes the time: parameters, the encoder's stages, shapes at odd and even sizes, gradients, half precision."""
    model = on_meta(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == COUNTS[name]
    check_stages(model, name in PRETRAINABLE)
    model.eval()
    with torch.no_grad():
        for size in SIZES[1:2] if ENTRIES[name].divisor == 32 else SIZES:
            assert model(torch.empty(2, 3, *size, device="meta")).shape == (2, 29, *size)
    model.train()
    outputs = model(torch.empty(1, 3, 65, 97, device="meta"))
    criterion = DeepSupervisionLoss(build_loss({"bce": 1, "dice": 1}, [1.0] * 29))
    criterion(outputs, torch.empty(1, 29, 65, 97, device="meta"), torch.ones(1, device="meta")).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]
    without = [parameter.removeprefix("network.") for parameter in without]
    assert [parameter for parameter in without if not parameter.startswith(UNUSED.get(name, ()))] == []
    half = model.eval().bfloat16()(torch.empty(1, 3, 64, 64, device="meta", dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16


def batch(name: str) -> tuple[Tensor, Tensor]:
    """Two images of two overlapping classes, of the smallest size that the network takes; coarse networks get whole or half images."""
    side = max(64, ENTRIES[name].min_size)
    target = torch.zeros(2, 2, side, side)
    if name in ("FCN32s", "FCN16s", "DilatedNet"):
        target[0, 0] = target[:, 1] = 1
    else:
        target[0, 0, : side // 2] = 1
        target[1, 0, :, side // 2 :] = 1
        target[0, 1, side // 4 :, side // 4 :] = 1
    images = 0.2 + target.sum(1, keepdim=True) * 0.3 + 0.1 * torch.rand(2, 1, side, side)
    return images, target


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW_TO_TRAIN else ()) for name in NETS])
def test_a_small_batch_can_be_memorised(name: str) -> None:
    """From random weights the loss falls to a tenth in at most 300 steps; every parameter changes, and bf16 is finite."""
    torch.manual_seed(0)
    model = build(name, in_channels=1, classes=2, **SMALL.get(name, {})).train()
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters() if parameter.requires_grad}
    images, target = batch(name)
    criterion = DeepSupervisionLoss(build_loss({"bce": 1, "dice": 1}, [1.0, 1.0]))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATES.get(name, 1e-3))
    losses: list[float] = []
    while len(losses) < STEPS and (not losses or losses[-1] > 0.1 * losses[0]):
        loss = criterion(model(images), target, torch.ones(2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] <= 0.1 * losses[0], [round(value, 3) for value in losses]
    after = dict(model.named_parameters())
    assert [key for key, parameter in before.items() if torch.equal(parameter, after[key])] == []
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert model.eval()(images).isfinite().all()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LARGER])
def test_a_saved_network_gives_the_same_logits_when_loaded(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    small_encoder = "tu-vit_tiny_patch16_224" if name == "DPT" else "resnet18" if ENTRIES[name].takes_encoder else None
    spec = ModelSpec(name, small_encoder, 1, ["a", "b"], SMALL.get(name, {}))
    model = build_model(spec).eval().to(memory_format=torch.channels_last)
    images = torch.rand(1, 1, 70, 65)
    info = TrainedModelInfo(spec, None, "", "", size=64, fold=0, epoch=1, dice=0.5)
    save_model(tmp_path, model.state_dict(), info)
    loaded, loaded_info = load_model(tmp_path)
    assert replace(loaded_info, sha256="") == info
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))


def test_a_batch_of_one_image_trains_if_pooling_leaves_a_single_value() -> None:
    for name in ("DeepLabV3Plus", "PAN", "UPerNet"):
        model = build(name, "resnet18", in_channels=1, classes=2).train()
        model(torch.rand(1, 1, 64, 64)).sum().backward()
        assert all(module.training for module in model.modules())


def test_a_batch_of_one_image_trains_with_timms_batch_norm_too() -> None:
    """Pooled to one pixel inside timm's BatchNormAct2d, as in an encoder of 32 px."""
    model = build("Unet", "tu-mobilenetv3_small_050", in_channels=1, classes=2).train()
    model(torch.rand(1, 1, 32, 32)).sum().backward()
    assert all(module.training for module in model.modules())


def test_auxiliary_outputs_are_only_returned_in_training() -> None:
    model = on_meta("UNet3Plus")
    assert isinstance(model.train()(torch.empty(1, 3, 64, 64, device="meta")), Outputs)
    assert isinstance(model.eval()(torch.empty(1, 3, 64, 64, device="meta")), Tensor)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in LARGER])
def test_torch_compile_sees_one_graph(name: str) -> None:
    """A break in each norm, as by a hook that it cannot follow, would leave nothing to fuse. Training falls back where it fails."""
    torch._dynamo.reset()
    model = build(name, encoder(name), in_channels=1, classes=3, **SMALL.get(name, {})).train()
    if name.startswith(("FCDenseNet", "UNet3Plus")):  # recomputed parts
        with pytest.raises(torch._dynamo.exc.TorchDynamoException):
            torch._dynamo.explain(model)(torch.rand(2, 1, 128, 128))
        return
    found = torch._dynamo.explain(model)(torch.rand(2, 1, 128, 128))
    assert found.graph_count == (3 if name in ("FCN32s", "FCN16s") else 1)
