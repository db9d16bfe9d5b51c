"""ResUNet: residual units with a convolution on every shortcut, strides instead of pooling."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from conftest import build
from handbone.models.nets.resunet import ResidualUnit, ResUNet

torch.set_num_threads(1)


@pytest.mark.parametrize(("classes", "expected"), [(21, 8_222_293), (29, 8_222_813)])
def test_parameter_counts(classes: int, expected: int) -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in ResUNet(3, classes).parameters()) == expected


def test_every_shortcut_is_a_bare_1x1_convolution_with_its_units_stride() -> None:
    with torch.device("meta"):
        units = [module for module in ResUNet(3, 2).modules() if isinstance(module, ResidualUnit)]
    shapes = [(unit.shortcut.in_channels, unit.shortcut.out_channels, unit.shortcut.stride[0]) for unit in units]
    assert shapes == [(3, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2), (768, 256, 1), (384, 128, 1), (192, 64, 1)]
    assert all(unit.shortcut.kernel_size == (1, 1) and unit.shortcut.stride == unit.residual[0].stride for unit in units)


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2])
def test_the_shortcut_takes_the_features_before_the_relu(stride: int) -> None:
    unit, features = ResidualUnit(3, 4, stride).eval(), torch.randn(2, 3, 8, 6)
    nn.init.zeros_(unit.residual[3].weight)
    nn.init.zeros_(unit.residual[3].bias)
    expected = functional.conv2d(features[..., ::stride, ::stride], unit.shortcut.weight, unit.shortcut.bias)
    torch.testing.assert_close(unit(features), expected)


@torch.no_grad()
def test_only_the_first_unit_has_no_batch_norm_before_its_convolution() -> None:
    network = ResUNet(1, 2)
    assert isinstance(network.down[0].before, nn.Identity)
    for unit in [*network.down[1:], *network.fuse]:
        nn.init.constant_(unit.before[0].weight, 0)
        nn.init.constant_(unit.before[0].bias, -1)  # rectified to 0
        features = torch.rand(2, unit.shortcut.in_channels, 4, 4)
        assert unit.residual[0](unit.before(features)).eq(unit.residual[0].bias.view(-1, 1, 1)).all()


def test_levels_are_halved_by_strides_and_joined_with_their_skip() -> None:
    fused: list[torch.Size] = []
    with torch.device("meta"):
        network = ResUNet(1, 2)
        for fuse in network.fuse:
            fuse.register_forward_pre_hook(lambda _, inputs: fused.append(inputs[0].shape))
        network(torch.rand(1, 1, 32, 48))
    assert fused == [(1, 768, 8, 12), (1, 384, 16, 24), (1, 192, 32, 48)]
    assert not any(isinstance(module, nn.MaxPool2d) for module in network.modules())


@torch.no_grad()
def test_coarser_maps_are_enlarged_by_repeating_each_pixel() -> None:
    network = ResUNet(1, 2, widths=(2, 4, 8, 16)).eval()
    coarse: list[Tensor] = []
    joined: list[Tensor] = []
    for module in (network.down[-1], *network.fuse[:-1]):
        module.register_forward_hook(lambda _, inputs, output: coarse.append(output))
    for fuse in network.fuse:
        fuse.register_forward_pre_hook(lambda _, inputs: joined.append(inputs[0]))
    network(torch.rand(1, 1, 16, 24))
    for maps, found in zip(coarse, joined, strict=True):
        assert np.array_equal(found[:, : maps.shape[1]], maps.numpy().repeat(2, axis=2).repeat(2, axis=3))


def test_odd_sizes_keep_their_size() -> None:
    model = build("ResUNet", in_channels=1, classes=2, widths=[4, 8, 16, 32])
    with torch.no_grad():
        assert model.eval()(torch.rand(1, 1, 33, 20)).shape == (1, 2, 33, 20)
        assert model.train()(torch.rand(1, 1, 7, 8)).shape == (1, 2, 7, 8)  # one pixel at the coarsest level
