"""DeconvNet."""

from typing import Any

import pytest
import torch
from torch import nn

from handbone.models.nets import deconvnet
from handbone.models.nets.deconvnet import DeconvNet

torch.set_num_threads(1)
THIN: dict[str, Any] = {"widths": (4, 4, 8, 8, 8), "fc_width": 16}


def test_parameter_counts() -> None:
    with torch.device("meta"):
        counts = [sum(parameter.numel() for parameter in DeconvNet(3, classes).parameters()) for classes in (21, 29)]
    assert counts == [251_805_653, 251_806_173]


def test_logits_are_as_large_as_the_image() -> None:
    network = DeconvNet(1, 5, **THIN).eval()
    with torch.no_grad():
        for size in [(224, 224), (256, 288)]:
            assert network(torch.rand(1, 1, *size)).shape == (1, 5, *size)


def test_the_middle_is_one_pixel_of_an_image_of_224() -> None:
    with torch.device("meta"):
        middle = DeconvNet(3, 21).middle
        fc6 = middle[0](torch.rand(2, 512, 7, 7))
        assert fc6.shape == (2, 4096, 1, 1) and middle[1](fc6).shape == (2, 4096, 1, 1)
        assert middle(torch.rand(2, 512, 7, 7)).shape == (2, 512, 7, 7)
    assert [[type(part) for part in layer[1:]] for layer in middle] == [[nn.BatchNorm2d, nn.ReLU]] * 3


def test_the_decoder_has_transposed_convolutions_with_batch_norm() -> None:
    with torch.device("meta"):
        network = DeconvNet(3, 21)
    ups = [module for module in network.decoder.modules() if isinstance(module, nn.ConvTranspose2d)]
    norms = [module for module in network.decoder.modules() if isinstance(module, nn.BatchNorm2d)]
    widths = [512] * 5 + [256] * 3 + [128] * 2 + [64] * 3
    assert [up.out_channels for up in ups] == widths == [norm.num_features for norm in norms]
    assert all((up.kernel_size, up.stride, up.padding) == ((3, 3), (1, 1), (1, 1)) for up in ups)
    score = network.decoder[-1][-1][-1]
    assert type(score) is nn.Conv2d and score.weight.shape == (21, 64, 1, 1)
    assert not any(isinstance(module, nn.Dropout) for module in network.modules())


def test_transposed_convolutions_have_small_initial_weights() -> None:
    assert 0.009 < deconvnet._layer(64, 64)[0].weight.std() < 0.011


def test_unpooling_uses_the_indices_of_the_trunk() -> None:
    network, images = DeconvNet(1, 2, **THIN).eval(), torch.rand(1, 1, 224, 224)
    seen: list[torch.Tensor] = []
    network.decoder[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(images)
    _, pooled = network.trunk.with_indices(images)
    filled = torch.zeros(1, 8, 14 * 14).scatter(2, pooled[-1][0].flatten(2), 1.0).view(1, 8, 14, 14)
    assert seen[0].any() and not seen[0][filled == 0].any()


def test_trunk_and_fc_layers_take_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(deconvnet, "load_vgg16", lambda *arguments: calls.append(arguments))
    with torch.device("meta"):
        DeconvNet(3, 21)
        built = DeconvNet(3, 21, "vgg.pth")
    assert calls == [("vgg.pth", built.trunk, [(built.middle[0][0], built.middle[1][0])])] and built.trunk.norm
