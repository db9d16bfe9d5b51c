"""UNet 3+: full-scale nodes, deep supervision, and presence that scales probabilities."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.models import build_model, unet3plus
from handbone.models.nets.unet3plus import UNet3Plus, gated
from handbone.models.outputs import Outputs

torch.set_num_threads(1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WIDTHS": (4, 4, 4, 8, 8), "BRANCH": 4, "FUSED": 20}.items():
        monkeypatch.setattr(unet3plus, name, value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"deep_supervision": False}, (27_029_397, 27_052_445)),
        ({}, (27_404_457, 27_570_385)),
        ({"cgm": True}, (27_404_457 + 1025 * 21, 27_600_110)),
    ],
)
def test_parameters_are_as_many_as_specified(options: dict[str, Any], expected: tuple[int, int]) -> None:
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
    for own, widths in enumerate(
        [(64, 320, 320, 320, 1024), (64, 128, 320, 320, 1024), (64, 128, 256, 320, 1024), (64, 128, 256, 512, 1024)]
    ):
        size = (48 >> own, 32 >> own)
        for level, width in enumerate(widths):
            assert seen[f"{own}.branches.{level}.1"] == ((1, width, *size), (1, 64, *size))
        assert seen[f"{own}.fuse.0"] == ((1, 320, *size), (1, 320, *size))


@pytest.mark.usefixtures("small")
def test_coarser_sources_are_the_fused_nodes_and_the_coarsest_is_the_encoders() -> None:
    network = UNet3Plus(1, 2).eval()
    sources: dict[int, list[Tensor]] = {}
    made: dict[str, Tensor] = {}
    for own, node in enumerate(network.nodes):
        node.register_forward_pre_hook(lambda _, inputs, own=own: sources.update({own: list(inputs[0])}))
        node.register_forward_hook(lambda _, inputs, output, own=own: made.update({f"node {own}": output}))
    for level, down in enumerate(network.down):
        down.register_forward_hook(lambda _, inputs, output, level=level: made.update({f"encoder {level}": output}))
    network(torch.rand(1, 1, 32, 32))
    for own in range(4):
        expected = [made[f"node {level}" if own < level < 4 else f"encoder {level}"] for level in range(5)]
        assert all(source is map_ for source, map_ in zip(sources[own], expected, strict=True))


def test_finer_sources_are_pooled_by_their_maximum_and_coarser_ones_enlarged_bilinearly() -> None:
    maps = torch.rand(1, 2, 8, 8)
    branches = unet3plus.Node(2, recompute=False).branches
    assert torch.equal(branches[0][0](maps), functional.max_pool2d(maps, 4))
    assert torch.equal(branches[2][0](maps), maps)
    assert torch.equal(branches[4][0](maps), functional.interpolate(maps, (32, 32), mode="bilinear"))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("cgm", [False, True])
@pytest.mark.parametrize("deep_supervision", [False, True])
def test_training_gives_what_the_options_say_and_evaluation_logits_alone(deep_supervision: bool, cgm: bool) -> None:
    network = UNet3Plus(1, 3, deep_supervision, cgm)
    images = torch.rand(2, 1, 48, 32)
    found = network(images)
    expected = [(2, 3, 48 >> level, 32 >> level) for level in range(1, 5)] * deep_supervision + [(2, 3)] * cgm
    assert isinstance(found, Outputs) == bool(expected)
    if isinstance(found, Outputs):
        assert [own.logits.shape for own in found.auxiliary] == expected
        assert [own.weight for own in found.auxiliary] == [1.0] * len(expected)
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
        found = gated(logits, torch.tensor([[presence]]))
        torch.testing.assert_close(found.detach().view(-1), torch.tensor(expected, dtype=torch.float32))
        assert torch.autograd.grad(found.sum(), logits)[0].isfinite().all()


def _with_presence(network: UNet3Plus, bias: float) -> UNet3Plus:
    assert network.presence is not None
    nn.init.zeros_(network.presence[1].weight)
    nn.init.constant_(network.presence[1].bias, bias)
    return network


@pytest.mark.usefixtures("small")
@torch.no_grad()
@pytest.mark.parametrize("training", [False, True])
def test_an_absent_class_has_no_probability_anywhere_and_a_present_one_keeps_its_own(training: bool) -> None:
    torch.manual_seed(0)
    network, images = UNet3Plus(1, 2, cgm=True).eval(), torch.rand(2, 1, 32, 32)
    network.training = training  # its parts stay as they are: what training adds must not change the logits

    def logits(bias: float) -> list[Tensor]:
        found = _with_presence(network, bias)(images)
        return [found.logits, *(own.logits for own in found.auxiliary if own.logits.dim() == 4)] if training else [found]

    plain, network.presence = network.presence, None
    ungated = network(images)
    network.presence = plain
    torch.testing.assert_close(logits(40.0)[0], ungated.logits if training else ungated)
    assert len(logits(-20.0)) == (5 if training else 1)
    assert all(maps.sigmoid().max() < 1e-8 for maps in logits(-20.0))


@pytest.mark.usefixtures("small")
def test_presence_learns_from_its_own_output_alone() -> None:
    network = UNet3Plus(1, 2, cgm=True, recompute=False)
    assert network.presence is not None
    found = network(torch.rand(2, 1, 32, 32))
    sum(own.logits.sum() for own in found.auxiliary[:-1]).backward(retain_graph=True)
    found.logits.sum().backward(retain_graph=True)
    assert network.presence[1].weight.grad is None
    found.auxiliary[-1].logits.sum().backward()
    assert network.presence[1].weight.grad.any()


@pytest.mark.usefixtures("small")
@torch.no_grad()
def test_presence_is_decided_by_the_strongest_pixel_of_the_coarsest_map() -> None:
    network = UNet3Plus(1, 2, cgm=True).eval()
    network.training = True
    assert network.presence is not None and isinstance(network.presence[0], nn.Dropout) and network.presence[0].p == 0.5
    coarsest: list[Tensor] = []
    network.down[4].register_forward_hook(lambda module, inputs, output: coarsest.append(output))
    presence = network(torch.rand(2, 1, 64, 32)).auxiliary[-1].logits
    assert torch.equal(presence, network.presence(coarsest[0]).flatten(2).max(2).values)


@pytest.mark.usefixtures("small")
def test_odd_sizes_keep_their_size() -> None:
    model = build_model("UNet3Plus", in_channels=1, classes=2, cgm=True)
    found = model(torch.rand(2, 1, 33, 50))
    assert isinstance(found, Outputs)
    assert [own.logits.shape for own in (found, *found.auxiliary)] == [(2, 2, 33, 50)] * 5 + [(2, 2)]
    assert model.eval()(torch.rand(1, 1, 17, 31)).shape == (1, 2, 17, 31)
