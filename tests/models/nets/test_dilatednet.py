"""DilatedNet."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handbone.models.nets import dilatednet
from handbone.models.nets.dilatednet import CONTEXTS, Context, DilatedNet
from handbone.models.outputs import Outputs

torch.set_num_threads(1)
THIN: dict[str, Any] = {"widths": (2, 2, 2, 2, 2), "fc_width": 8}


@pytest.mark.parametrize(("context", "at_21", "at_29"), [("none", 134_351_957, 134_386_781), ("basic", 134_380_349, 134_440_837)])
def test_parameter_counts(context: str, at_21: int, at_29: int) -> None:
    with torch.device("meta"):
        counts = [sum(parameter.numel() for parameter in DilatedNet(3, classes, None, context).parameters()) for classes in (21, 29)]
    assert counts == [at_21, at_29]


def test_the_front_end_gives_exactly_an_eighth_and_logits_the_whole() -> None:
    with torch.device("meta"):
        network = DilatedNet(3, 21, context="none")
        sizes: list[tuple[int, ...]] = []
        network.score.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape)))
        for height, width in [(192, 200), (256, 320)]:
            assert network(torch.rand(1, 3, height, width)).shape == (1, 21, height, width)
            assert sizes[-1] == (1, 21, height // 8, width // 8)


def test_the_border_is_the_mirrored_image() -> None:
    network, images = DilatedNet(1, 2, **THIN), torch.rand(1, 1, 192, 200)
    seen: list[torch.Tensor] = []
    network.trunk.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(images)
    assert np.array_equal(seen[0][0, 0], np.pad(images[0, 0], 186, mode="reflect"))


def test_the_front_end_is_unpadded_and_dilated_in_place_of_the_last_two_pools() -> None:
    with torch.device("meta"):
        network = DilatedNet(3, 21)
    layers = [layer for layer in network.trunk.features if isinstance(layer, nn.Conv2d)]
    assert [layer.dilation[0] for layer in layers] == [1] * 10 + [2] * 3
    assert all(layer.padding == (0, 0) for layer in [*layers, network.head.fc6])
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in network.trunk.features) == 3
    assert network.head.fc6.weight.shape == (4096, 512, 7, 7) and network.head.fc6.dilation == (4, 4) and network.head.dropout.p == 0.5


def test_scores_start_small_and_the_enlargement_is_fixed() -> None:
    network = DilatedNet(1, 400)
    assert 0.0009 < network.score.weight.std() < 0.0011 and not network.score.bias.any()
    assert not network.up.weight.requires_grad
    assert (network.up.kernel_size, network.up.stride, network.up.padding, network.up.groups) == ((16, 16), (8, 8), (4, 4), 400)


def test_the_basic_context_starts_as_relu_exactly() -> None:
    scores = torch.randn(2, 5, 24, 20)
    assert torch.equal(Context(5, CONTEXTS["basic"])(scores), scores.relu())


def test_the_large_context_starts_nearly_as_relu_with_channels_told_apart() -> None:
    context, scores = Context(3, CONTEXTS["large"]), torch.randn(1, 3, 24, 20)
    with torch.no_grad():
        assert (context(scores) - scores.relu()).abs().mean() < 0.1
    first = context[0].weight
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize(("context", "widths"), [("basic", [1] * 8), ("large", [2, 2, 4, 8, 16, 32, 32, 1])])
def test_the_context_is_seven_dilated_convolutions_with_relu_and_one_without(context: str, widths: list[int]) -> None:
    module = Context(3, CONTEXTS[context])
    convolutions = list(module)[::2]
    assert [layer.out_channels // 3 for layer in convolutions] == widths
    assert [layer.dilation[0] for layer in convolutions] == [1, 1, 2, 4, 8, 16, 1, 1]
    assert [layer.kernel_size[0] for layer in convolutions] == [3] * 7 + [1]
    assert [type(layer) for layer in list(module)[1::2]] == [nn.ReLU] * 7


def test_the_front_end_is_supervised_itself_while_training() -> None:
    network, images = DilatedNet(1, 3, **THIN), torch.rand(1, 1, 192, 192)
    outputs = network(images)
    assert isinstance(outputs, Outputs) and [other.weight for other in outputs.auxiliary] == [1.0]
    assert outputs.logits.shape == (1, 3, 192, 192) and outputs.auxiliary[0].logits.shape == (1, 3, 24, 24)
    assert isinstance(network.eval()(images), torch.Tensor)
    assert isinstance(DilatedNet(1, 3, context="none", **THIN)(images), torch.Tensor)


def test_a_class_below_zero_everywhere_still_learns() -> None:
    torch.manual_seed(0)  # with few channels ReLU and dropout may leave no feature at all
    network = DilatedNet(1, 2, widths=(8, 8, 8, 8, 8), fc_width=64)
    nn.init.constant_(network.score.bias, -9.0)
    outputs = network(torch.rand(1, 1, 192, 192))
    (outputs.logits.mean() + outputs.auxiliary[0].logits.mean()).backward()
    assert not outputs.logits.any() and network.score.weight.grad.any()


def test_trunk_and_fc_layers_take_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(dilatednet, "load_vgg16", lambda *arguments: calls.append(arguments))
    with torch.device("meta"):
        DilatedNet(3, 21)
        built = DilatedNet(3, 21, "vgg.pth")
    assert calls == [("vgg.pth", built.trunk, [(built.head.fc6, built.head.fc7)])]
