"""Attention U-Net and its gates."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import build
from handbone.models.nets.attention_unet import AttentionGate, AttentionUNet

torch.set_num_threads(1)
THIN = (2, 4, 8, 16, 32)


@pytest.mark.parametrize(("classes", "expected"), [(1, 34_878_573), (21, 34_879_873), (29, 34_880_393)])
def test_parameter_counts(classes: int, expected: int) -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in AttentionUNet(3, classes).parameters()) == expected


@torch.no_grad()
def test_one_coefficient_per_pixel_scales_all_channels() -> None:
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


def test_each_gate_takes_the_skip_and_the_enlarged_coarser_level() -> None:
    outputs: dict[str, Tensor] = {}
    gated: list[tuple[Tensor, ...]] = []
    fused: list[torch.Size] = []
    with torch.device("meta"):
        network = AttentionUNet(1, 2)
        for kind in ("down", "up"):
            for index, module in enumerate(getattr(network, kind)):
                module.register_forward_hook(lambda _, inputs, output, name=f"{kind} {index}": outputs.update({name: output}))
        for gate, fuse in zip(network.gates, network.fuse, strict=True):
            gate.register_forward_pre_hook(lambda _, inputs: gated.append(inputs))
            fuse.register_forward_pre_hook(lambda _, inputs: fused.append(inputs[0].shape))
        network(torch.rand(1, 1, 32, 48))
    for index, (skip, signal) in enumerate(gated):
        assert skip is outputs[f"down {3 - index}"] and signal is outputs[f"up {index}"]
    assert fused == [(1, 1024, 4, 6), (1, 512, 8, 12), (1, 256, 16, 24), (1, 128, 32, 48)]


@torch.no_grad()
def test_coarser_maps_are_enlarged_bilinearly_between_the_centres_of_pixels() -> None:
    network = AttentionUNet(1, 2, THIN).eval()
    coarse: list[Tensor] = []
    enlarged: list[Tensor] = []
    for module in (network.down[-1], *network.fuse[:-1]):
        module.register_forward_hook(lambda _, inputs, output: coarse.append(output[0]))
    for up in network.up:
        up.register_forward_pre_hook(lambda _, inputs: enlarged.append(inputs[0][0]))
    network(torch.rand(1, 1, 32, 48))
    for maps, found in zip(coarse, enlarged, strict=True):
        size = (2 * maps.shape[2], 2 * maps.shape[1])
        expected = [cv2.resize(channel, size, interpolation=cv2.INTER_LINEAR) for channel in maps.numpy()]
        torch.testing.assert_close(found, torch.from_numpy(np.array(expected)))


@torch.no_grad()
def test_closed_gates_block_the_skips() -> None:
    network = AttentionUNet(1, 2, THIN).eval()
    images = torch.rand(1, 1, 32, 32)
    fused: list[Tensor] = []
    network.fuse[-1].register_forward_pre_hook(lambda _, inputs: fused.append(inputs[0]))
    network(images)
    for gate in network.gates:
        nn.init.constant_(gate.attention[2].bias, -200)
    network(images)
    assert fused[0][:, :2].any() and not fused[1][:, :2].any() and fused[1][:, 2:].any()


def test_odd_sizes_keep_their_size() -> None:
    model = build("AttentionUNet", in_channels=1, classes=2, widths=THIN)
    with torch.no_grad():
        assert model.eval()(torch.rand(1, 1, 33, 20)).shape == (1, 2, 33, 20)
        assert model.train()(torch.rand(1, 1, 15, 16)).shape == (1, 2, 15, 16)  # one pixel at the coarsest level
