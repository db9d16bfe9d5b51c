"""FC-DenseNet: the inputs of a block, its outputs, and the number of layers."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from conftest import build
from handbone.models.nets.fcdensenet import FCDenseNet, FCDenseNet56, FCDenseNet67, FCDenseNet103, Layer, TransitionDown

torch.set_num_threads(1)
ALL = [(FCDenseNet56, 56), (FCDenseNet67, 67), (FCDenseNet103, 103)]


@pytest.mark.parametrize(
    ("network", "expected"),
    [(FCDenseNet56, (1_378_725, 1_380_269)), (FCDenseNet67, (3_466_133, 3_468_445)), (FCDenseNet103, (9_324_661, 9_326_717))],
)
def test_parameter_counts(network: type[FCDenseNet], expected: tuple[int, int]) -> None:
    with torch.device("meta"):
        for classes, count in zip((21, 29), expected, strict=True):
            assert sum(parameter.numel() for parameter in network(3, classes).parameters()) == count


@pytest.mark.parametrize(("network", "layers"), ALL)
def test_the_name_says_the_number_of_convolutions(network: type[FCDenseNet], layers: int) -> None:
    with torch.device("meta"):
        assert sum(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in network(3, 2).modules()) == layers


def test_only_new_maps_go_up_and_all_maps_are_scored() -> None:
    seen: list[int] = []
    with torch.device("meta"):
        network = FCDenseNet103(1, 2)
        for up in network.up:
            up.conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
        network.score.conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
        network.eval()(torch.rand(1, 1, 32, 32))
    assert seen == [16 * 15, 16 * 12, 16 * 10, 16 * 7, 16 * 5, (80 + 112) + 64]  # the last block's input and what it adds


def test_a_layer_of_an_upward_block_sees_the_enlarged_maps_the_skip_and_those_before_it() -> None:
    seen: list[list[int]] = []
    with torch.device("meta"):
        network = FCDenseNet56(1, 2).eval()
        for layer in network.fuse[0].layers:
            layer.register_forward_pre_hook(lambda _, inputs: seen.append([maps.shape[1] for maps in inputs]))
        network(torch.rand(1, 1, 32, 32))
    skip = [48] + [12] * 4 * 5  # the coarsest skip: all maps of the way down, concatenated
    pooled = [48 + 48 * 4] + [12] * 4
    assert sum(skip) == sum(pooled)
    assert seen == [[48, *pooled, *[12] * index] for index in range(4)]


@torch.no_grad()
def test_enlarged_maps_are_cropped_at_their_centre_rounded_towards_the_start() -> None:
    """As in Lasagne's ConcatLayer, which the authors use: an extra pixel is the last one."""
    enlarged_maps: list[torch.Tensor] = []
    joined: list[tuple[torch.Tensor, torch.Tensor]] = []
    network = FCDenseNet56(1, 2).eval()
    for up, block in zip(network.up, network.fuse, strict=True):
        up.register_forward_hook(lambda _, inputs, output: enlarged_maps.append(output))
        block.layers[0].register_forward_pre_hook(lambda _, inputs: joined.append(inputs[:2]))
    network(torch.rand(1, 1, 33, 46))  # halved to 16, 8, 4, 2, 1 and to 23, 11, 5, 2, 1: with an extra pixel, and without
    for enlarged, (cut, skip) in zip(enlarged_maps, joined, strict=True):
        (top, left), (height, width) = [(enlarged.shape[axis] - skip.shape[axis]) // 2 for axis in (2, 3)], skip.shape[2:]
        assert torch.equal(cut, enlarged[..., top : top + height, left : left + width])


@torch.no_grad()
def test_a_layer_normalises_rectifies_convolves_and_drops_out() -> None:
    layer, maps = Layer(5, 4, 3, dropout=0.5), (torch.randn(2, 2, 6, 6), torch.randn(2, 3, 6, 6))
    layer.norm.eval()
    plain = functional.conv2d(layer.norm(torch.cat(maps, 1)).relu(), layer.conv.weight, layer.conv.bias, padding=1)
    dropped = layer(*maps)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * plain[kept])
    assert 0.3 < kept.float().mean() < 0.7
    torch.testing.assert_close(layer.eval()(*maps), plain)


@torch.no_grad()
def test_maps_are_dropped_before_they_are_pooled() -> None:
    pool = TransitionDown(2, dropout=0.5)
    pool.norm.eval()
    nn.init.zeros_(pool.conv.weight)
    nn.init.ones_(pool.conv.bias)
    assert pool(torch.randn(1, 2, 64, 64)).eq(2).float().mean() == pytest.approx(1 - 0.5**4, abs=0.03)  # one of four pixels is enough


def test_dropout_is_a_fifth_by_default() -> None:
    with torch.device("meta"):
        for network, expected in [(FCDenseNet56(1, 2), 0.2), (FCDenseNet56(1, 2, dropout=0.1), 0.1)]:
            rates = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
            assert rates == [expected] * (56 - 7)  # all but the first and last convolution and the five upward ones


def test_weights_are_uniform_and_keep_the_variance_of_rectified_values() -> None:
    network = FCDenseNet56(3, 2)
    for weight, incoming in [(network.down[4].layers[3].conv.weight, 9 * (240 + 36)), (network.up[0].conv.weight, 9 * 48 / 4)]:
        bound = math.sqrt(6 / incoming)
        assert 0.98 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (63, 50)])
def test_any_size_from_32_on_keeps_its_size(size: tuple[int, int]) -> None:
    assert FCDenseNet56(1, 2).eval()(torch.rand(1, 1, *size)).shape == (1, 2, *size)


@torch.no_grad()
def test_smaller_images_keep_their_size_too() -> None:
    model = build("FCDenseNet67", in_channels=1, classes=2)
    assert model(torch.rand(1, 1, 9, 40)).shape == (1, 2, 9, 40)
