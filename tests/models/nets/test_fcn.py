"""FCN-32s, -16s and -8s."""

from typing import Any

import pytest
import torch
from torch import nn

from handbone.models.nets import fcn, vgg
from handbone.models.nets.fcn import FCN8s, FCN16s, FCN32s

torch.set_num_threads(1)
NETWORKS = (FCN32s, FCN16s, FCN8s)
THIN: dict[str, Any] = {"widths": (4, 4, 8, 8, 8), "fc_width": 16}


@pytest.mark.parametrize(
    ("network", "at_21", "at_29"),
    [(FCN32s, 136_152_917, 137_824_093), (FCN16s, 134_815_994, 135_268_874), (FCN8s, 134_489_759, 134_643_895)],
)
def test_parameter_counts(network: type[nn.Module], at_21: int, at_29: int) -> None:
    with torch.device("meta"):
        counts = [sum(parameter.numel() for parameter in network(3, classes).parameters()) for classes in (21, 29)]
    assert counts == [at_21, at_29]


@pytest.mark.parametrize("network", NETWORKS)
def test_logits_are_as_large_as_the_image(network: type[nn.Module]) -> None:
    with torch.no_grad():
        for channels, size in [(3, (32, 32)), (1, (64, 96))]:
            assert network(channels, 5, **THIN)(torch.rand(2, channels, *size)).shape == (2, 5, *size)


def test_skips_add_their_scores() -> None:
    network, images = FCN8s(1, 2, **THIN).eval(), torch.rand(1, 1, 64, 64)
    for score in network.scores:
        nn.init.normal_(score.weight)
    weights = [score.weight.detach().clone() for score in network.scores]
    with torch.no_grad():
        whole, parts = network(images), []
        for kept in range(3):
            for index, score in enumerate(network.scores):
                score.weight.copy_(weights[index] * (index == kept))
            parts.append(network(images))
    assert all(part.any() for part in parts)
    assert torch.allclose(whole, sum(parts), atol=1e-5 * float(whole.abs().max()))


def test_skips_are_of_pool4_and_pool3() -> None:
    network = FCN8s(1, 2, **THIN).eval()
    seen: list[tuple[int, ...]] = []
    for score in network.scores:
        score.register_forward_hook(lambda module, inputs, output: seen.append(tuple(inputs[0].shape[1:])))
    network(torch.rand(1, 1, 64, 96))
    assert seen == [(16, 2, 3), (8, 4, 6), (8, 8, 12)]


def test_scores_start_at_zero_and_gradients_reach_all_from_the_second_step_on() -> None:
    network, images, target = FCN8s(1, 2, **THIN), torch.rand(2, 1, 64, 64), torch.rand(2, 2, 64, 64)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    assert not network(images).any()
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(network(images), target).backward()
        optimizer.step()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(("network", "factors"), [(FCN32s, [32]), (FCN16s, [2, 16]), (FCN8s, [2, 2, 8])])
def test_doublings_are_trained_and_the_last_enlargement_is_fixed(network: type[nn.Module], factors: list[int]) -> None:
    with torch.device("meta"):
        built = network(3, 21)
    ups = [*built.doublings, built.last]
    assert [(up.stride[0], up.kernel_size[0], up.groups, up.bias) for up in ups] == [(factor, 2 * factor, 1, None) for factor in factors]
    assert [up.weight.requires_grad for up in ups] == [True] * (len(factors) - 1) + [False]


def test_fc_layers_are_convolutions_with_dropout() -> None:
    with torch.device("meta"):
        head = FCN8s(3, 21).head
    assert (head.fc6.weight.shape, head.fc6.padding, head.fc7.weight.shape) == ((4096, 512, 7, 7), (3, 3), (4096, 4096, 1, 1))
    zeros = (vgg.Head(512, 64, 1)(torch.ones(1, 512, 9, 9)) == 0).float().mean()
    assert head.dropout.p == 0.5 and 0.6 < zeros < 0.9  # half by ReLU, half of the rest by dropout


@pytest.mark.parametrize("network", NETWORKS)
def test_trunk_and_fc_layers_take_the_weights(network: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(fcn, "load_vgg16", lambda *arguments: calls.append(arguments))
    with torch.device("meta"):
        network(3, 21)
        built = network(3, 21, "vgg.pth")
    assert calls == [("vgg.pth", built.trunk, [(built.head.fc6, built.head.fc7)])]
