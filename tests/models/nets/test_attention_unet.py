"""Attention U-Net: what the gates let through."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handbone.models import attention_unet, build_model
from handbone.models.nets.attention_unet import AttentionGate, AttentionUNet

torch.set_num_threads(1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_unet, "WIDTHS", (2, 4, 8, 16, 32))


@pytest.mark.parametrize(("classes", "expected"), [(1, 34_878_573), (21, 34_879_873), (29, 34_880_393)])
def test_parameters_are_as_many_as_specified(classes: int, expected: int) -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in AttentionUNet(3, classes).parameters()) == expected


@torch.no_grad()
def test_one_coefficient_a_pixel_scales_all_channels() -> None:
    gate = AttentionGate(8).eval()
    skip, signal = torch.rand(2, 8, 5, 6) + 0.1, torch.randn(2, 8, 5, 6)
    ratio = gate(skip, signal) / skip
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    assert ratio.min() > 0 and ratio.max() < 1 and ratio[:, 0].std() > 0


@torch.no_grad()
def test_coefficients_are_the_additive_attention_of_the_paper() -> None:
    gate = AttentionGate(4).eval()
    skip, signal = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3)

    def mixed(conv: nn.Conv2d, maps: Tensor) -> Tensor:
        weight, bias = conv.weight[:, :, 0, 0], conv.bias
        return torch.einsum("oc,nchw->nohw", weight, maps) + bias.view(-1, 1, 1)

    epsilon = (1 + 1e-5) ** -0.5  # an untrained batch normalisation
    both = (mixed(gate.of_gate[0], signal) + mixed(gate.of_skip[0], skip)) * epsilon
    expected = skip * (mixed(gate.attention[1], both.relu()) * epsilon).sigmoid()
    torch.testing.assert_close(gate(skip, signal), expected)


def test_each_gate_hears_the_enlarged_coarser_level_and_holds_the_skip() -> None:
    made: dict[str, Tensor] = {}
    heard: list[tuple[Tensor, ...]] = []
    fused: list[torch.Size] = []
    with torch.device("meta"):
        network = AttentionUNet(1, 2)
        for kind in ("down", "up"):
            for index, module in enumerate(getattr(network, kind)):
                module.register_forward_hook(lambda _, inputs, output, name=f"{kind} {index}": made.update({name: output}))
        for gate, fuse in zip(network.gates, network.fuse, strict=True):
            gate.register_forward_pre_hook(lambda _, inputs: heard.append(inputs))
            fuse.register_forward_pre_hook(lambda _, inputs: fused.append(inputs[0].shape))
        network(torch.rand(1, 1, 32, 48))
    for index, (skip, signal) in enumerate(heard):
        assert skip is made[f"down {3 - index}"] and signal is made[f"up {index}"]
    assert fused == [(1, 1024, 4, 6), (1, 512, 8, 12), (1, 256, 16, 24), (1, 128, 32, 48)]


@pytest.mark.usefixtures("small")
@torch.no_grad()
def test_coarser_maps_are_enlarged_bilinearly_between_the_centres_of_pixels() -> None:
    network = AttentionUNet(1, 2).eval()
    coarse: list[Tensor] = []
    enlarged: list[Tensor] = []
    for made in (network.down[-1], *network.fuse[:-1]):
        made.register_forward_hook(lambda _, inputs, output: coarse.append(output[0]))
    for up in network.up:
        up.register_forward_pre_hook(lambda _, inputs: enlarged.append(inputs[0][0]))
    network(torch.rand(1, 1, 32, 48))
    for maps, found in zip(coarse, enlarged, strict=True):
        size = (2 * maps.shape[2], 2 * maps.shape[1])
        expected = [cv2.resize(channel, size, interpolation=cv2.INTER_LINEAR) for channel in maps.numpy()]
        torch.testing.assert_close(found, torch.from_numpy(np.array(expected)))


@pytest.mark.usefixtures("small")
@torch.no_grad()
def test_closed_gates_let_nothing_of_the_skips_through() -> None:
    network = AttentionUNet(1, 2).eval()
    images = torch.rand(1, 1, 32, 32)
    fused: list[Tensor] = []
    network.fuse[-1].register_forward_pre_hook(lambda _, inputs: fused.append(inputs[0]))
    network(images)
    for gate in network.gates:
        nn.init.constant_(gate.attention[2].bias, -200)
    network(images)
    assert fused[0][:, :2].any() and not fused[1][:, :2].any() and fused[1][:, 2:].any()


@pytest.mark.usefixtures("small")
def test_odd_sizes_keep_their_size() -> None:
    model = build_model("AttentionUNet", in_channels=1, classes=2)
    with torch.no_grad():
        assert model.eval()(torch.rand(1, 1, 33, 20)).shape == (1, 2, 33, 20)
        assert model.train()(torch.rand(1, 1, 15, 16)).shape == (1, 2, 15, 16)  # one pixel at the coarsest level
