"""The VGG16 trunk that six networks share."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import VGG16_BN_Weights, VGG16_Weights, vgg16, vgg16_bn

from conftest import Fails
from handbone.models.nets import vgg
from handbone.models.nets.vgg import VGG16, Convolution, Head, bilinear_up, load_vgg16, mirror, unpool

torch.set_num_threads(1)
THIN = (2, 2, 2, 2, 2)


def features(norm: bool) -> dict[str, torch.Tensor]:
    """torchvision's convolutions with random weights; as in its file of 2017, batch norms have no counter."""
    with torch.device("meta"):
        shapes = (vgg16_bn if norm else vgg16)(weights=None).state_dict()
    names = [name for name in shapes if name.startswith("features.") and not name.endswith("tracked")]
    return {name: torch.randn(shapes[name].shape).abs() * 0.01 for name in names}


def classifier() -> dict[str, torch.Tensor]:
    """torchvision's fully connected layers: all values of a row are different, and rows overlap in memory, which saves bytes."""
    shapes = {"0": (4096, 25088), "3": (4096, 4096), "6": (1000, 4096)}
    weights = {f"classifier.{i}.weight": torch.randn(7 * a + b).as_strided((a, b), (7, 1)) for i, (a, b) in shapes.items()}
    return weights | {f"classifier.{i}.bias": torch.randn(a) for i, (a, _) in shapes.items()}


def saved(folder: Path, state: dict[str, torch.Tensor]) -> str:
    torch.save(state, folder / "vgg.pth")
    return str(folder / "vgg.pth")


@pytest.mark.parametrize("norm", [False, True])
def test_the_trunk_is_torchvisions(tmp_path: Path, norm: bool) -> None:
    state, images = features(norm), torch.randn(1, 3, 32, 32)
    trunk = VGG16(3, norm=norm).eval()
    load_vgg16(saved(tmp_path, state), trunk)
    with torch.device("meta"):
        reference = (vgg16_bn if norm else vgg16)(weights=None).features.to_empty(device="cpu").eval()
    reference.load_state_dict({name.removeprefix("features."): tensor for name, tensor in state.items()}, strict=False)
    with torch.no_grad():
        pools = trunk(images)
        assert torch.allclose(pools[-1], reference(images)) and pools[-1].any()
        assert torch.equal(trunk.with_indices(images)[0], pools[-1])
    assert [tuple(pool.shape[1:]) for pool in pools] == [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2), (512, 1, 1)]


def test_a_grey_stem_sees_grey_as_the_rgb_stem_does(tmp_path: Path) -> None:
    path, grey = saved(tmp_path, features(False)), torch.randn(1, 1, 32, 32)
    outputs = []
    for channels in (1, 3):
        trunk = VGG16(channels)
        load_vgg16(path, trunk)
        with torch.no_grad():
            outputs.append(trunk(grey.expand(-1, channels, -1, -1))[-1])
    assert torch.allclose(*outputs, rtol=1e-4) and outputs[0].any()


def test_narrow_fc_layers_take_every_fourth_channel_and_every_third_tap(tmp_path: Path) -> None:
    fc, head = classifier(), Head(512, 1024, 3)
    trunk = VGG16(3, widths=(2, 2, 2, 2, 512))
    load_vgg16(saved(tmp_path, trunk.state_dict() | fc), trunk, [(head.fc6, head.fc7)])
    assert torch.equal(head.fc6.weight, fc["classifier.0.weight"].view(4096, 512, 7, 7)[::4, :, ::3, ::3])
    assert torch.equal(head.fc7.weight[..., 0, 0], fc["classifier.3.weight"][::4, ::4])
    assert torch.equal(head.fc6.bias, fc["classifier.0.bias"][::4]) and torch.equal(head.fc7.bias, fc["classifier.3.bias"][::4])


def test_wide_fc_layers_take_all() -> None:
    fc = classifier()
    with torch.device("meta"):
        parts = vgg._decimated(fc, Head().fc6)
    assert torch.equal(parts["fc6.weight"].flatten(1), fc["classifier.0.weight"]) and parts["fc6.weight"].shape[1:] == (512, 7, 7)
    assert torch.equal(parts["fc7.weight"].flatten(1), fc["classifier.3.weight"]) and parts["fc7.weight"].dim() == 4


def test_a_file_of_the_convolutions_alone_leaves_the_fc_layers_as_they_are(tmp_path: Path) -> None:
    trunk, other, head = VGG16(3, widths=THIN), VGG16(3, widths=THIN), Head(2, 8, 3)
    before = head.fc6.weight.clone()
    load_vgg16(saved(tmp_path, other.state_dict()), trunk, [(head.fc6, head.fc7)])
    assert torch.equal(head.fc6.weight, before) and torch.equal(trunk.features[0].weight, other.features[0].weight)


def test_the_file_with_nan_in_its_classifier_is_refused(tmp_path: Path, fails: Fails) -> None:
    trunk = VGG16(3, widths=THIN)
    broken = trunk.state_dict() | {"classifier.0.weight": torch.full((4, 4), torch.nan)}
    with fails("weights.not_finite", "vgg.pth"):
        load_vgg16(saved(tmp_path, broken), trunk)


def test_all_misfits_are_reported(tmp_path: Path, fails: Fails) -> None:
    head, state = Head(2, 8, 3), VGG16(3, widths=THIN).state_dict()
    with fails("weights.mismatch", "vgg.pth") as caught:
        load_vgg16(saved(tmp_path, state), VGG16(3, norm=True, widths=THIN))
    assert "features.1.running_mean" in caught.value.problems[0].found
    path = saved(tmp_path, state | {"classifier.0.weight": torch.zeros(9, 9)})
    with fails("weights.mismatch", "fc6.bias", "fc7.bias", "fc6.weight"):
        load_vgg16(path, VGG16(3, widths=THIN), [(head.fc6, head.fc7)])


@pytest.mark.parametrize(("norm", "source"), [(False, VGG16_Weights.IMAGENET1K_V1), (True, VGG16_BN_Weights.IMAGENET1K_V1)])
def test_imagenet_is_the_file_of_torchvision(monkeypatch: pytest.MonkeyPatch, norm: bool, source: VGG16_Weights) -> None:
    asked: list[str] = []
    trunk = VGG16(3, norm, widths=THIN)
    monkeypatch.setattr(vgg, "download", lambda url: asked.append(url) or trunk.state_dict())
    load_vgg16("imagenet", trunk)
    assert asked == [source.url]


def test_activations_keep_their_spread_with_random_weights() -> None:
    trunk = VGG16(1, pools=[nn.Identity()] * 5)
    with torch.no_grad():
        outputs = trunk(torch.randn(1, 1, 24, 24))[-1]
    assert 0.2 < outputs.square().mean().sqrt() < 5


@torch.no_grad()
def test_both_fully_connected_layers_are_rectified_and_then_dropped_out() -> None:
    head, maps = Head(512, 8, 3), torch.randn(2, 512, 5, 6)

    def rectified(layer: nn.Conv2d, inputs: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(inputs, layer.weight, layer.bias).clamp(min=0)

    for layer in (head.fc6, head.fc7):
        nn.init.normal_(layer.bias)
    hidden = rectified(head.fc6, maps)
    torch.testing.assert_close(head.eval()(maps), rectified(head.fc7, hidden))
    dropped: list[tuple[torch.Tensor, torch.Tensor]] = []
    head.dropout.register_forward_hook(lambda module, inputs, output: dropped.append((inputs[0], output)))
    outputs = head.train()(maps)
    assert len(dropped) == 2 and outputs is dropped[1][1]
    torch.testing.assert_close(dropped[0][0], hidden)
    torch.testing.assert_close(dropped[1][0], rectified(head.fc7, dropped[0][1]))


def test_dilations_and_padding_are_those_of_the_arguments() -> None:
    with torch.device("meta"):
        padded, valid = (VGG16(3, dilations=(1, 1, 1, 1, 2), padded=keep) for keep in (True, False))
    layers = [[layer for layer in trunk.features if isinstance(layer, Convolution)] for trunk in (padded, valid)]
    assert [layer.dilation[0] for layer in layers[0]] == [1] * 10 + [2] * 3
    assert [layer.padding[0] for layer in layers[0]] == [1] * 10 + [2] * 3 and all(layer.padding == (0, 0) for layer in layers[1])


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
@pytest.mark.parametrize("groups", [1, 3])
def test_bilinear_up_is_bilinear_enlargement_in_the_interior(factor: int, groups: int) -> None:
    maps = torch.randn(1, 3, 5, 6)
    with torch.no_grad():
        outputs = bilinear_up(3, factor, groups)(maps)
    expected = functional.interpolate(maps, scale_factor=factor, mode="bilinear")
    inner = slice(factor, -factor)
    assert outputs.shape == expected.shape
    assert torch.allclose(outputs[..., inner, inner], expected[..., inner, inner], atol=2e-6)


def test_each_value_returns_to_the_position_of_its_maximum() -> None:
    trunk, images = VGG16(1, widths=THIN), torch.rand(1, 1, 45, 37)
    with torch.no_grad():
        deepest, pooled = trunk.with_indices(images)
        back = unpool(deepest, pooled, [nn.Identity()] * 5)
    maps, positions = functional.max_pool2d(trunk.features[:4](images), 2, return_indices=True)
    assert torch.equal(pooled[0][0], positions) and pooled[0][1] == (45, 37) and back.shape == (1, 2, 45, 37)
    first = unpool(maps, pooled[:1], [nn.Identity()])
    kept = first != 0
    assert torch.equal(first[kept], trunk.features[:4](images)[kept])


def test_a_decoder_mirrors_the_trunk() -> None:
    built: list[tuple[int, int]] = []

    def layer(channels: int, width: int) -> nn.Module:
        built.append((channels, width))
        return nn.Identity()

    stages = mirror(layer, last := nn.Identity())
    widths = [(512, 512)] * 3 + [(512, 512)] * 2 + [(512, 256)] + [(256, 256)] * 2 + [(256, 128)] + [(128, 128), (128, 64)] + [(64, 64)]
    assert built == widths and [len(stage) for stage in stages] == [3, 3, 3, 2, 2] and stages[-1][-1] is last


@pytest.mark.parametrize("norm", [False, True])
def test_stages_end_with_the_pools(norm: bool) -> None:
    trunk = VGG16(3, norm, widths=THIN)
    convolutions = [[layer for layer in stage if isinstance(trunk.get_submodule(layer.rstrip(".")), nn.Conv2d)] for stage in trunk.stages]
    assert [len(stage) for stage in convolutions] == [2, 2, 3, 3, 3]
