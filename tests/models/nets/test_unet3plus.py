"""UNet 3+: full-scale nodes, deep supervision, and presence that scales probabilities."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from conftest import build
from handbone.models.nets.unet3plus import Node, UNet3Plus, gated
from handbone.models.outputs import Outputs

torch.set_num_threads(1)
THIN: dict[str, Any] = {"widths": [4, 4, 4, 8, 8], "branch_width": 4}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"deep_supervision": False}, (27_029_397, 27_052_445)),
        ({}, (27_404_457, 27_570_385)),
        ({"cgm": True}, (27_404_457 + 1025 * 21, 27_600_110)),
    ],
)
def test_parameter_counts(options: dict[str, Any], expected: tuple[int, int]) -> None:
    with torch.device("meta"):
        for classes, count in zip((21, 29), expected, strict=True):
            assert sum(parameter.numel() for parameter in UNet3Plus(3, classes, **options).parameters()) == count


def test_every_source_is_brought_to_a_nodes_size_and_then_to_64_channels() -> None:
    seen: dict[str, tuple[torch.Size, torch.Size]] = {}
    with torch.device("meta"):
        network = UNet3Plus(1, 2)
        for name, module in network.nodes.named_modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda _, inputs, output, name=name: seen.update({name: (inputs[0].shape, output.shape)}))
        network(torch.rand(1, 1, 48, 32))
    for index, widths in enumerate(
        [(64, 320, 320, 320, 1024), (64, 128, 320, 320, 1024), (64, 128, 256, 320, 1024), (64, 128, 256, 512, 1024)]
    ):
        size = (48 >> index, 32 >> index)
        for level, width in enumerate(widths):
            assert seen[f"{index}.branches.{level}.1"] == ((1, width, *size), (1, 64, *size))
        assert seen[f"{index}.fuse.0"] == ((1, 320, *size), (1, 320, *size))


def test_coarser_sources_are_the_fused_nodes_and_the_coarsest_is_the_encoders() -> None:
    network = UNet3Plus(1, 2, **THIN).eval()
    sources: dict[int, list[Tensor]] = {}
    maps: dict[str, Tensor] = {}
    for index, node in enumerate(network.nodes):
        node.register_forward_pre_hook(lambda _, inputs, index=index: sources.update({index: list(inputs[0])}))
        node.register_forward_hook(lambda _, inputs, output, index=index: maps.update({f"node {index}": output}))
    for level, down in enumerate(network.down):
        down.register_forward_hook(lambda _, inputs, output, level=level: maps.update({f"encoder {level}": output}))
    network(torch.rand(1, 1, 32, 32))
    for index in range(4):
        expected = [maps[f"node {level}" if index < level < 4 else f"encoder {level}"] for level in range(5)]
        assert all(source is expected_map for source, expected_map in zip(sources[index], expected, strict=True))


def test_finer_sources_are_pooled_by_their_maximum_and_coarser_ones_enlarged_bilinearly() -> None:
    maps = torch.rand(1, 2, 8, 8)
    branches = Node(2, recompute=False).branches
    assert torch.equal(branches[0][0](maps), functional.max_pool2d(maps, 4))
    assert torch.equal(branches[2][0](maps), maps)
    assert torch.equal(branches[4][0](maps), functional.interpolate(maps, (32, 32), mode="bilinear"))


@pytest.mark.parametrize("cgm", [False, True])
@pytest.mark.parametrize("deep_supervision", [False, True])
def test_the_options_decide_the_outputs_of_training_and_evaluation_returns_only_logits(deep_supervision: bool, cgm: bool) -> None:
    network = UNet3Plus(1, 3, deep_supervision, cgm, **THIN)
    images = torch.rand(2, 1, 48, 32)
    outputs = network(images)
    expected = [(2, 3, 48 >> level, 32 >> level) for level in range(1, 5)] * deep_supervision + [(2, 3)] * cgm
    assert isinstance(outputs, Outputs) == bool(expected)
    if isinstance(outputs, Outputs):
        assert [other.logits.shape for other in outputs.auxiliary] == expected
        assert [other.weight for other in outputs.auxiliary] == [1.0] * len(expected)
    assert network.eval()(images).shape == (2, 3, 48, 32)


def test_gated_logits_are_those_of_the_product_of_the_probabilities() -> None:
    logits, presence = torch.randn(2, 3, 4, 5, dtype=torch.float64) * 4, torch.randn(2, 3, dtype=torch.float64) * 4
    product = logits.sigmoid() * presence.sigmoid()[..., None, None]
    torch.testing.assert_close(gated(logits, presence), product.logit())


def test_gating_stays_finite_and_exact_far_out() -> None:
    logits = torch.tensor([-1e4, -90.0, 0.0, 90.0, 1e4]).view(1, 1, 1, 5).requires_grad_()
    for presence, expected in [
        (1e4, [-1e4, -90, 0, 90, 9999.3069]),
        (90.0, [-1e4, -90, 0, 89.3069, 90]),
        (-90.0, [-10090, -180, -90.6931, -90, -90]),
    ]:
        outputs = gated(logits, torch.tensor([[presence]]))
        torch.testing.assert_close(outputs.detach().view(-1), torch.tensor(expected, dtype=torch.float32))
        assert torch.autograd.grad(outputs.sum(), logits)[0].isfinite().all()


def _with_presence(network: UNet3Plus, bias: float) -> UNet3Plus:
    assert network.presence is not None
    nn.init.zeros_(network.presence[1].weight)
    nn.init.constant_(network.presence[1].bias, bias)
    return network


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True])
def test_an_absent_class_has_probability_0_everywhere_and_a_present_one_is_unchanged(training: bool) -> None:
    torch.manual_seed(0)
    network, images = UNet3Plus(1, 2, cgm=True, **THIN).eval(), torch.rand(2, 1, 32, 32)
    network.training = training  # only of the network itself: its parts stay in eval mode, as auxiliary outputs must not change the logits

    def logits(bias: float) -> list[Tensor]:
        outputs = _with_presence(network, bias)(images)
        return [outputs.logits, *(other.logits for other in outputs.auxiliary if other.logits.dim() == 4)] if training else [outputs]

    plain, network.presence = network.presence, None
    ungated = network(images)
    network.presence = plain
    torch.testing.assert_close(logits(40.0)[0], ungated.logits if training else ungated)
    assert len(logits(-20.0)) == (5 if training else 1)
    assert all(maps.sigmoid().max() < 1e-8 for maps in logits(-20.0))


def test_presence_has_a_gradient_only_from_its_auxiliary_output() -> None:
    network = UNet3Plus(1, 2, cgm=True, recompute=False, **THIN)
    assert network.presence is not None
    outputs = network(torch.rand(2, 1, 32, 32))
    sum(other.logits.sum() for other in outputs.auxiliary[:-1]).backward(retain_graph=True)
    outputs.logits.sum().backward(retain_graph=True)
    assert network.presence[1].weight.grad is None
    outputs.auxiliary[-1].logits.sum().backward()
    assert network.presence[1].weight.grad.any()


@torch.no_grad()
def test_presence_is_decided_by_the_strongest_pixel_of_the_coarsest_map() -> None:
    network = UNet3Plus(1, 2, cgm=True, **THIN).eval()
    network.training = True
    assert network.presence is not None and isinstance(network.presence[0], nn.Dropout) and network.presence[0].p == 0.5
    coarsest: list[Tensor] = []
    network.down[4].register_forward_hook(lambda module, inputs, output: coarsest.append(output))
    presence = network(torch.rand(2, 1, 64, 32)).auxiliary[-1].logits
    assert torch.equal(presence, network.presence(coarsest[0]).flatten(2).max(2).values)


def test_odd_sizes_keep_their_size() -> None:
    model = build("UNet3Plus", in_channels=1, classes=2, cgm=True, **THIN)
    outputs = model(torch.rand(2, 1, 33, 50))
    assert isinstance(outputs, Outputs)
    assert [other.logits.shape for other in (outputs, *outputs.auxiliary)] == [(2, 2, 33, 50)] * 5 + [(2, 2)]
    assert model.eval()(torch.rand(1, 1, 17, 31)).shape == (1, 2, 17, 31)
