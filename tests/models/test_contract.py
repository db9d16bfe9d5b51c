"""The contract of every network, and what breaks it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from conftest import Fails, build
from handbone.models import contract
from handbone.models.contract import check_contract
from handbone.models.registry import ENTRIES, build_model
from handbone.models.spec import ModelSpec
from handbone.models.wrapper import SegmentationModel
from small_networks import SMALL

LARGER = ("SegformerB1", "SegformerB2", "SegformerB3", "SegformerB4", "SegformerB5", "HRNetW32", "HRNetW48", "HRNetW32OCR", "HRNetW48OCR")
SLOW = ("DeconvNet", "DilatedNet", "DPT", "UNet2015", "EfficientUNet", *(name for name in ENTRIES if name.startswith(("HRNet", "Deep"))))


class Net(nn.Module):
    """A convolution, and what follows it."""

    def __init__(self, classes: int = 2, after: nn.Module | None = None) -> None:
        super().__init__()
        self.score = nn.Conv2d(1, classes, 3, padding=1)
        self.after = after or nn.Identity()

    def forward(self, images: Tensor) -> Any:
        return self.after(self.score(images))


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, maps: Tensor) -> Any:
        return self.function(maps)


def check(network: nn.Module, side: int = 96, classes: int = 2) -> None:
    torch.manual_seed(0)
    spec = ModelSpec("Mine", None, 1, [str(number) for number in range(classes)])
    check_contract(SegmentationModel(network, 1, 0, [0.0], [1.0]), spec, side)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in ENTRIES if name not in LARGER]
)
def test_every_network_keeps_it_and_is_unchanged(name: str) -> None:
    """Also with one class, and with weights, modes and random numbers as before."""
    encoder = "tu-vit_tiny_patch16_224" if name == "DPT" else "resnet18" if ENTRIES[name].takes_encoder else None
    spec = ModelSpec(name, encoder, 1, ["a"], SMALL.get(name, {}))
    model = build_model(spec)
    before, random = {key: tensor.clone() for key, tensor in model.state_dict().items()}, torch.random.get_rng_state()
    check_contract(model, spec, 160)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random) and all(part.training for part in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_part_in_eval_mode_stays_in_it() -> None:
    network = Net()
    network.after.eval()
    check(network)
    assert network.score.training and not network.after.training


@pytest.mark.parametrize(
    "after", [nn.Sigmoid(), nn.Softmax(1), nn.LogSoftmax(1), nn.Tanh(), nn.ReLU(), *map(Apply, (torch.sigmoid, torch.tanh))]
)
def test_an_activation_after_the_last_layer_is_refused(after: nn.Module, fails: Fails) -> None:
    with fails("model.contract", "Mine"):
        check(Net(after=after))


def test_small_logits_of_either_sign_are_no_activation() -> None:
    """A last layer that starts from zero, or close to it, as DilatedNet's and FCN's."""
    for scale in (0.0, 1e-3):
        network = Net()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter *= scale
        check(network)
    check(Net(after=nn.Upsample(scale_factor=1)))


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (Apply(lambda maps: (maps, maps)), "tuple"),
        (Apply(lambda maps: {"out": maps}), "dict"),
        (Apply(lambda maps: maps[:, :1]), "shape"),
        (Apply(lambda maps: maps[:1]), "shape"),
        (Apply(lambda maps: maps > 0), "bool"),
        (Apply(lambda maps: maps / 0), "NaN"),
    ],
)
def test_what_is_not_one_tensor_of_finite_logits_is_refused(after: nn.Module, found: str, fails: Fails) -> None:
    with fails("model.contract", "Mine") as caught:
        check(Net(after=after))
    assert found in caught.value.problems[0].found


def needs(fits: Any) -> nn.Module:
    """A network that fails unless the image's height and width fit."""

    def fail(maps: Tensor) -> Tensor:
        if not fits(*maps.shape[-2:]):
            raise AssertionError("size does not match model")
        return maps

    return Net(after=Apply(fail))


def test_the_sizes_that_fit_are_named(fails: Fails) -> None:
    with fails("model.contract", "Mine") as caught:
        check(needs(lambda height, width: height == width == 224))
    assert "sides of 224 px" in caught.value.problems[0].fix


@pytest.mark.parametrize("limit", ["height", "width"])
def test_a_size_beyond_which_a_network_fails_is_found_in_both_orientations(limit: str, fails: Fails) -> None:
    with fails("model.contract", "Mine") as caught:
        check(needs(lambda height, width: (height if limit == "height" else width) <= 256), 300)
    assert "224, 240, 256 px" in caught.value.problems[0].fix
    check(needs(lambda height, width: max(height, width) <= 256), 256)


def test_too_little_memory_is_no_fault_of_the_network() -> None:
    def fail(maps: Tensor) -> Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    with pytest.raises(RuntimeError, match="allocate"):
        check(Net(after=Apply(fail)))


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "sigmoid"},
        {"activation": None},
        {"aux_params": {"classes": 2}},
        {"classes": 3},
        {"in_channels": 3},
        {"encoder_weights": "imagenet"},
        {"encoder_name": "resnet34"},
    ],
)
def test_options_that_other_keys_decide_are_refused_by_name(options: dict[str, Any], fails: Fails) -> None:
    with fails("model.option", f"model.options.Unet.{next(iter(options))}"):
        build_model(ModelSpec("Unet", "resnet18", 1, ["a", "b"], options))


@pytest.mark.parametrize("option", ["pretrained", "checkpoint_path", "num_classes", "in_chans", "features_only", "pretrained_cfg"])
def test_options_of_timm_that_would_load_or_change_the_network_are_refused(option: str, tmp_path: Path, fails: Fails) -> None:
    """checkpoint_path would unpickle a file."""
    with fails("model.option", option):
        build("Unet", "tu-resnet10t", **{option: str(tmp_path)})


@pytest.mark.parametrize("encoder", ["tu-swin_tiny_patch4_window7_224", "tu-swinv2_tiny_window8_256"])
def test_windowed_transformers_take_any_size(encoder: str) -> None:
    spec = ModelSpec("UPerNet", encoder, 1, ["a", "b"])
    model = build_model(spec)
    assert model.divisor == 32
    check_contract(model, spec, 160)


@pytest.mark.parametrize(("encoder", "fits", "too_large"), [("tu-coat_lite_tiny", 224, 256), ("tu-maxvit_tiny_tf_224", 448, None)])
def test_an_encoder_of_one_size_gets_images_padded_to_it(encoder: str, fits: int, too_large: int | None, fails: Fails) -> None:
    """MaxViT also takes multiples of its size, and the sizes that fit the others are named."""
    spec = ModelSpec("UPerNet", encoder, 1, ["a", "b"])
    model = build_model(spec)
    assert (model.divisor, model.min_size) == (224, 224)
    check_contract(model, spec, fits)
    if too_large:
        with fails("model.contract", encoder) as caught:
            check_contract(model, spec, too_large)
        assert "64, 96, 128, 160, 192, 224 px" in caught.value.problems[0].fix


def test_the_trial_is_small() -> None:
    """Two strips and a small image: a tenth of the pixels of one batch of eight."""
    seen: list[int] = []
    network = Net(after=Apply(lambda maps: (seen.append(maps.shape[0] * maps.shape[2] * maps.shape[3]), maps)[1]))
    check(network, 512)
    assert sum(seen) < 8 * 512 * 512 / 10
    assert max(contract.PROBED) <= 512
