"""DeepLab v1 and v2."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import ResNet101_Weights
from torchvision.models.resnet import Bottleneck, ResNet

from conftest import Fails
from handbone.models.nets import deeplab
from handbone.models.nets.deeplab import DeepLabV1, DeepLabV2ResNet101, DeepLabV2VGG, FixedNorm
from handbone.models.outputs import Outputs

torch.set_num_threads(1)


def thin(network: type[nn.Module], channels: int, classes: int, weights: str | None = None, **options: Any) -> Any:
    """Few channels, or few layers."""
    small = {"depths": (1, 1, 1, 1)} if network is DeepLabV2ResNet101 else {"widths": (4, 4, 8, 8, 8), "fc_width": 16}
    return network(channels, classes, weights, **small, **options)


def built(network: type[nn.Module], **options: Any) -> Any:
    with torch.device("meta"):
        return network(3, 21, **options)


@pytest.mark.parametrize(
    ("network", "at_21", "at_29"),
    [(DeepLabV1, 20_505_429, 20_513_629), (DeepLabV2VGG, 37_877_652, 37_910_452), (DeepLabV2ResNet101, 44_048_532, 44_638_388)],
)
def test_parameter_counts(network: type[nn.Module], at_21: int, at_29: int) -> None:
    with torch.device("meta"):
        counts = [sum(parameter.numel() for parameter in network(3, classes).parameters()) for classes in (21, 29)]
    assert counts == [at_21, at_29]


@pytest.mark.parametrize("network", [DeepLabV1, DeepLabV2VGG, DeepLabV2ResNet101])
def test_any_size_in_the_same_size_out(network: type[nn.Module]) -> None:
    model = thin(network, 1, 5).eval()
    with torch.no_grad():
        for size in [(1, 9), (64, 65), (71, 50)]:
            assert model(torch.rand(1, 1, *size)).shape == (1, 5, *size)


@pytest.mark.parametrize(("network", "averages"), [(DeepLabV1, 1), (DeepLabV2VGG, 0)])
def test_pools_overlap_and_only_v1_averages_after_the_last(network: type[nn.Module], averages: int) -> None:
    features = built(network).trunk.features
    pools = [module for module in features.modules() if isinstance(module, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride, pool.padding) for pool in pools] == [(3, stride, 1) for stride in (2, 2, 2, 1, 1)]
    means = [module for module in features.modules() if isinstance(module, nn.AvgPool2d)]
    assert [(mean.kernel_size, mean.stride, mean.padding, mean.count_include_pad) for mean in means] == [(3, 1, 1, True)] * averages
    if averages:
        assert list(features[-1]) == [pools[-1], means[-1]]


def test_the_fifth_stage_is_dilated_and_each_branch_has_its_rate() -> None:
    for network, rates in [(DeepLabV1, [12]), (DeepLabV2VGG, [6, 12, 18, 24])]:
        model = built(network)
        assert [layer.dilation[0] for layer in model.trunk.features if isinstance(layer, nn.Conv2d)] == [1] * 10 + [2] * 3
        assert [(head.fc6.dilation[0], head.fc6.padding[0]) for head in model.heads] == [(rate, rate) for rate in rates]
        assert all(head.fc6.weight.shape == (1024, 512, 3, 3) and head.fc7.weight.shape == (1024, 1024, 1, 1) for head in model.heads)
        assert all(head.dropout.p == 0.5 for head in model.heads)


@pytest.mark.parametrize("size", [65, 64])
@pytest.mark.parametrize(("network", "options"), [(DeepLabV1, {}), (DeepLabV2ResNet101, {"multi_scale": False})])
def test_every_eighth_pixel_is_a_score_itself(network: type[nn.Module], options: dict[str, Any], size: int) -> None:
    """The corners are aligned, and images whose sides are not 8k + 1 are first extended: nothing is shifted."""
    model = thin(network, 1, 2, **options).eval()
    scores: list[torch.Tensor] = []
    for score in model.scores:
        score.register_forward_hook(lambda module, inputs, output: scores.append(output))
    logits = model(torch.rand(1, 1, size, size))
    expected = sum(scores)
    assert expected.shape[-2:] == (9, 9)
    assert torch.allclose(logits[..., ::8, ::8], expected[..., : (size + 7) // 8, : (size + 7) // 8], atol=1e-5)


@pytest.mark.parametrize("network", [DeepLabV2VGG, DeepLabV2ResNet101])
def test_branches_are_summed(network: type[nn.Module]) -> None:
    model, images = thin(network, 1, 2).eval(), torch.rand(1, 1, 33, 33)
    for score in model.scores:
        nn.init.zeros_(score.weight)
        nn.init.constant_(score.bias, 3.0)
    assert torch.allclose(model(images), torch.tensor(12.0))


@pytest.mark.parametrize(("network", "classes"), [(DeepLabV1, 400), (DeepLabV2VGG, 400), (DeepLabV2ResNet101, 4)])
def test_scores_have_small_initial_weights_and_no_bias(network: type[nn.Module], classes: int) -> None:
    for score in thin(network, 1, classes).scores:
        assert 0.009 < score.weight.std() < 0.011 and abs(score.weight.mean()) < 0.001
        assert score.bias is not None and not score.bias.any()


def test_rates_can_be_those_of_the_small_variant() -> None:
    assert [head.fc6.dilation[0] for head in built(DeepLabV2VGG, rates=[2, 4, 8, 12]).heads] == [2, 4, 8, 12]


@pytest.mark.parametrize("network", [DeepLabV1, DeepLabV2VGG])
def test_trunk_and_every_branch_take_the_weights(network: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(deeplab, "load_vgg16", lambda *arguments: calls.append(arguments))
    built(network)
    model = built(network, weights="vgg.pth")
    assert calls == [("vgg.pth", model.trunk, [(head.fc6, head.fc7) for head in model.heads])]


def test_the_resnet_keeps_an_eighth_of_the_size_and_has_no_fc() -> None:
    with torch.device("meta"):
        model = DeepLabV2ResNet101(3, 21)
        assert model.trunk(torch.rand(2, 3, 321, 321)).shape == (2, 2048, 41, 41)
    assert [score.dilation[0] for score in model.scores] == [6, 12, 18, 24]
    assert all(score.weight.shape == (21, 2048, 3, 3) and score.bias is not None for score in model.scores)


def test_the_largest_of_three_scales_wins_and_each_is_supervised() -> None:
    model, images = thin(DeepLabV2ResNet101, 1, 2), torch.rand(2, 1, 65, 81)
    sides: list[tuple[int, ...]] = []
    model.trunk.register_forward_hook(lambda module, inputs, output: sides.append(tuple(inputs[0].shape[-2:])))
    fused: list[torch.Tensor] = []
    model.scores[0].register_forward_hook(lambda module, inputs, output: fused.append(output))
    outputs = model(images)
    assert isinstance(outputs, Outputs) and [other.weight for other in outputs.auxiliary] == [1.0, 1.0, 1.0]
    assert sides == [(65, 81), (49, 65), (33, 41)]
    at_scores = [logits[..., ::8, ::8] for logits in (outputs.logits, *(other.logits for other in outputs.auxiliary))]
    assert torch.allclose(at_scores[0], torch.stack(at_scores[1:]).amax(0), atol=1e-5)
    assert not torch.allclose(at_scores[0], at_scores[1])
    assert isinstance(model.eval()(images), torch.Tensor)


def test_one_scale_gives_logits_alone() -> None:
    assert isinstance(thin(DeepLabV2ResNet101, 1, 2, multi_scale=False)(torch.rand(2, 1, 33, 33)), torch.Tensor)


def test_batch_norm_is_fixed_if_it_is_pretrained_and_trained_otherwise(tmp_path: Path) -> None:
    weights = ResNet(Bottleneck, [1, 1, 1, 1]).state_dict()
    torch.save(weights, tmp_path / "resnet.pth")
    for path, fixed in [(None, False), (str(tmp_path / "resnet.pth"), True)]:
        model = thin(DeepLabV2ResNet101, 1, 2, path, multi_scale=False).train()
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        before = [norm.running_mean.clone() for norm in norms]
        model(torch.rand(2, 1, 33, 33)).mean().backward()
        assert all(isinstance(norm, FixedNorm) == fixed for norm in norms) and len(norms) == 17
        assert all(torch.equal(norm.running_mean, old) == fixed for norm, old in zip(norms, before, strict=True))
        assert all((parameter.grad is None) == fixed for norm in norms for parameter in norm.parameters())
        assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    assert torch.equal(model.trunk.conv1.weight, weights["conv1.weight"].sum(1, keepdim=True))
    assert torch.equal(model.trunk.layer4[0].conv3.weight, weights["layer4.0.conv3.weight"])


def test_misfits_of_the_resnet_are_reported(tmp_path: Path, fails: Fails) -> None:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "resnet.pth")
    with fails("weights.mismatch", "resnet.pth") as caught:
        thin(DeepLabV2ResNet101, 3, 2, str(tmp_path / "resnet.pth"))
    assert "another architecture" in caught.value.problems[0].found and "bn1.bias" in caught.value.problems[0].found


def test_imagenet_is_the_file_of_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(deeplab, "download", lambda url: asked.append(url) or ResNet(Bottleneck, [1, 1, 1, 1]).state_dict())
    thin(DeepLabV2ResNet101, 3, 2, "imagenet")
    assert asked == [ResNet101_Weights.IMAGENET1K_V2.url]
