"""SegNet."""

import pytest
import torch
from torch import nn

from handbone.models.nets import segnet, vgg
from handbone.models.nets.segnet import SegNet

torch.set_num_threads(1)
THIN = (4, 4, 8, 8, 8)


def test_parameter_counts() -> None:
    with torch.device("meta"):
        counts = [sum(parameter.numel() for parameter in SegNet(3, classes).parameters()) for classes in (21, 29)]
    assert counts == [29_455_125, 29_459_741]


def test_any_size_from_32_on() -> None:
    network = SegNet(1, 5, widths=THIN).eval()
    with torch.no_grad():
        for size in [(32, 32), (33, 47), (65, 127)]:
            assert network(torch.rand(1, 1, *size)).shape == (1, 5, *size)


def test_the_decoder_has_batch_norm_except_in_the_last_layer() -> None:
    with torch.device("meta"):
        network = SegNet(3, 21)
    layers = [layer for stage in network.decoder for layer in stage]
    assert not any(isinstance(module, nn.ConvTranspose2d | nn.Dropout) for module in network.modules())
    assert all([type(part) for part in layer] == [vgg.Convolution, nn.BatchNorm2d, nn.ReLU] for layer in layers[:-1])
    assert type(layers[-1]) is nn.Conv2d and layers[-1].weight.shape == (21, 64, 3, 3)
    assert [layer[0].out_channels for layer in layers[:-1]] == [512] * 5 + [256] * 3 + [128] * 2 + [64] * 2


def test_unpooling_uses_the_indices_of_the_trunk() -> None:
    network, images = SegNet(1, 2, widths=THIN).eval(), torch.rand(1, 1, 32, 32)
    seen: list[torch.Tensor] = []
    network.decoder[-1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(images)
    _, pooled = network.trunk.with_indices(images)
    filled = torch.zeros(1, 4, 32 * 32).scatter(2, pooled[0][0].flatten(2), 1.0).view(1, 4, 32, 32)
    assert seen[0].any() and not seen[0][filled == 0].any()


def test_the_trunk_takes_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(segnet, "load_vgg16", lambda *arguments: calls.append(arguments))
    with torch.device("meta"):
        SegNet(3, 21)
        built = SegNet(3, 21, "vgg.pth")
    assert calls == [("vgg.pth", built.trunk)] and built.trunk.norm
