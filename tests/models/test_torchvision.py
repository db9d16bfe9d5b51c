"""The segmentation networks of torchvision."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from conftest import Fails
from handbone.models import torchvision as networks
from handbone.models.outputs import Outputs
from handbone.utils.errors import Problem, UserError

torch.set_num_threads(1)


def make(name: str) -> Callable[..., nn.Module]:
    return getattr(networks, name)


@pytest.fixture(scope="module")
def mobilenet() -> dict[str, Tensor]:
    return dict(torchvision.models.mobilenet_v3_large().state_dict())


@pytest.mark.parametrize(
    ("name", "options", "at_29", "per_class"),
    [
        ("fcn_resnet50", {}, 32_961_117, 513),
        ("fcn_resnet101", {}, 51_953_245, 513),
        ("fcn_resnet50", {"aux_loss": True}, 35_328_378, 513 + 257),
        ("fcn_resnet101", {"aux_loss": True}, 54_320_506, 513 + 257),
        ("deeplabv3_resnet50", {}, 39_640_925, 257),
        ("deeplabv3_resnet101", {}, 58_633_053, 257),
        ("deeplabv3_resnet50", {"aux_loss": True}, 39_640_925 + 2_367_261, 257 + 257),
        ("deeplabv3_mobilenet_v3_large", {}, 11_027_533, 257),
        ("lraspp_mobilenet_v3_large", {}, 3_222_898, 41 + 129),
    ],
)
def test_parameter_counts(name: str, options: dict, at_29: int, per_class: int) -> None:
    for classes in (19, 21, 29):
        with torch.device("meta"):
            network = make(name)(3, classes, **options)
        assert sum(parameter.numel() for parameter in network.parameters()) == at_29 - (29 - classes) * per_class


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_mobilenet_v3_large"])
def test_only_in_training_and_with_aux_loss_there_are_auxiliary_logits(name: str) -> None:
    images = torch.empty(2, 1, 32, 64, device="meta")
    with torch.device("meta"):
        plain, more = make(name)(1, 5), make(name)(1, 5, aux_loss=True)
    assert plain.train()(images).shape == (2, 5, 32, 64)
    outputs = more.train()(images)
    assert isinstance(outputs, Outputs) and outputs.logits.shape == (2, 5, 32, 64)
    assert [(other.logits.shape, other.weight) for other in outputs.auxiliary] == [((2, 5, 32, 64), 0.4)]
    assert isinstance(more.eval()(images), Tensor)


def test_the_auxiliary_logits_are_those_of_the_auxiliary_head() -> None:
    network = make("deeplabv3_mobilenet_v3_large")(1, 2, aux_loss=True).train()
    nn.init.zeros_(network.network.aux_classifier[-1].weight)
    nn.init.constant_(network.network.aux_classifier[-1].bias, 7)
    outputs = network(torch.rand(2, 1, 64, 64))
    assert torch.allclose(outputs.auxiliary[0].logits, torch.tensor(7.0)) and not torch.allclose(outputs.logits, torch.tensor(7.0))


@pytest.mark.parametrize("name", ["deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"])
def test_the_backbone_takes_exactly_the_tensors_of_a_mobilenets_file(name: str, mobilenet: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(mobilenet, tmp_path / "w.pth")
    trunk = make(name)(3, 2, str(tmp_path / "w.pth")).network.backbone.state_dict()
    assert {f"features.{key}" for key in trunk} == {key for key in mobilenet if key.startswith("features.")}
    assert all(torch.equal(tensor, mobilenet[f"features.{key}"]) for key, tensor in trunk.items())


def test_a_resnets_file_without_counters_of_batches_fits(tmp_path: Path) -> None:
    state = torchvision.models.resnet50().state_dict()
    torch.save({key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}, tmp_path / "w.pth")
    trunk = make("fcn_resnet50")(1, 2, str(tmp_path / "w.pth")).network.backbone.state_dict()
    stem = trunk.pop("conv1.weight")
    assert torch.equal(stem, state["conv1.weight"].sum(1, keepdim=True))
    assert set(state) - set(trunk) == {"conv1.weight", "fc.weight", "fc.bias"}
    assert all(torch.equal(tensor, state[key]) for key, tensor in trunk.items())


def test_a_grey_stem_is_the_sum_over_rgb(mobilenet: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(mobilenet, tmp_path / "w.pth")
    stem = make("lraspp_mobilenet_v3_large")(1, 2, str(tmp_path / "w.pth")).network.backbone["0"][0]
    assert stem.in_channels == 1 and torch.equal(stem.weight, mobilenet["features.0.0.weight"].sum(1, keepdim=True))


def test_all_misfits_are_one_error(mobilenet: dict[str, Tensor], tmp_path: Path, fails: Fails) -> None:
    wrong = dict(mobilenet) | {"features.1.block.0.0.weight": torch.zeros(3), "features.99.weight": torch.zeros(1)}
    del wrong["features.0.0.weight"]
    torch.save(wrong, tmp_path / "w.pth")
    with torch.device("meta"), fails("weights.mismatch", ": 0.0.weight", ": 1.block.0.0.weight", ": 99.weight") as caught:
        make("lraspp_mobilenet_v3_large")(3, 2, str(tmp_path / "w.pth"))
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fcn_resnet50", "resnet50-0676ba61.pth"),
        ("fcn_resnet101", "resnet101-63fe2227.pth"),
        ("deeplabv3_resnet50", "resnet50-0676ba61.pth"),
        ("deeplabv3_resnet101", "resnet101-63fe2227.pth"),
        ("deeplabv3_mobilenet_v3_large", "mobilenet_v3_large-8738ca79.pth"),
        ("lraspp_mobilenet_v3_large", "mobilenet_v3_large-8738ca79.pth"),
    ],
)
def test_imagenet_is_the_file_of_torchvision(name: str, file: str, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    def refuse(url: str) -> None:
        raise UserError(Problem("weights.download", url, "", "", ""))

    monkeypatch.setattr(networks, "download", refuse)
    with torch.device("meta"), fails("weights.download", f"https://download.pytorch.org/models/{file}"):
        make(name)(3, 2, "imagenet")
