"""Recomputing saves memory and changes no result."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from handbone.models import recompute
from handbone.models.nets.fcdensenet import FCDenseNet56
from handbone.models.nets.unet3plus import UNet3Plus
from handbone.models.outputs import Outputs
from handbone.models.recompute import recomputed
from handbone.models.wrapper import SegmentationModel

torch.set_num_threads(1)
Step = tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]


class Part(nn.Module):
    """A part of a network with two inputs, batch statistics and dropout."""

    def __init__(self, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.conv, self.norm, self.dropout = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=momentum), nn.Dropout(0.5)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.dropout(self.norm(self.conv(left * right)).relu())


def _step(network: nn.Module, call: Callable[[], Tensor | Outputs]) -> Step:
    """One forward and one backward pass from one seed: the output, the gradients and the buffers."""
    torch.manual_seed(3)
    network.zero_grad()
    outputs = call()
    maps = [outputs.logits, *(other.logits for other in outputs.auxiliary)] if isinstance(outputs, Outputs) else [outputs]
    flat = torch.cat([logits.flatten().float() for logits in maps])
    (flat * torch.linspace(-1, 1, flat.numel())).sum().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in network.named_parameters() if parameter.grad is not None}
    return flat.detach(), gradients, {name: buffer.clone() for name, buffer in network.named_buffers()}


def _kept_bytes(call: Callable[[], Any]) -> int:
    """Bytes of all tensors that autograd keeps after `call`."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        alive = call()
    assert alive is not None
    return sum(kept.values())


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("autocast", [False, True])
def test_outputs_gradients_and_batch_statistics_are_the_same(momentum: float | None, autocast: bool) -> None:
    part, inputs = Part(momentum), (torch.rand(2, 3, 8, 8, requires_grad=True), torch.rand(2, 3, 8, 8, requires_grad=True))
    fresh = {name: tensor.clone() for name, tensor in part.state_dict().items()}

    def step(call: Callable[..., Tensor]) -> tuple[Step, list[Tensor]]:
        part.load_state_dict(fresh)
        for tensor in inputs:
            tensor.grad = None

        def forward() -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                return call(part, *inputs)

        return _step(part, forward), [tensor.grad.clone() for tensor in inputs if tensor.grad is not None]

    plain, again = step(nn.Module.__call__), step(recomputed)
    assert len(plain[1]) == 2
    torch.testing.assert_close(again, plain, rtol=0, atol=0)
    assert part.norm.num_batches_tracked == 1


def test_a_part_is_unchanged_afterwards() -> None:
    part = Part()
    buffers = dict(part.named_buffers())
    recomputed(part, torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)).sum().backward()
    assert part.norm.training and part.norm.track_running_stats
    assert all(buffer is buffers[name] for name, buffer in part.named_buffers())


def test_activations_are_not_kept() -> None:
    part, inputs = Part(), (torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    given = sum(tensor.nbytes for tensor in inputs)
    assert _kept_bytes(lambda: part(*inputs)) > 2 * given
    assert _kept_bytes(lambda: recomputed(part, *inputs)) == given


def test_without_a_gradient_nothing_is_recomputed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recompute, "checkpoint", None)
    part, inputs = Part(), (torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8))
    with torch.no_grad():
        recomputed(part, *inputs)
    part.eval()
    assert torch.equal(recomputed(part, *inputs), part(*inputs))


def _small_unet3plus(recompute: bool) -> nn.Module:
    return UNet3Plus(1, 2, cgm=True, recompute=recompute, widths=(4, 4, 4, 8, 8), branch_width=4)


def _fcdensenet(recompute: bool) -> nn.Module:
    return FCDenseNet56(1, 2, dropout=0.3, recompute=recompute)


@pytest.mark.parametrize("make", [_small_unet3plus, _fcdensenet])
@pytest.mark.parametrize("size", [(2, 1, 48, 32), (1, 1, 32, 32)])
def test_a_network_that_recomputes_trains_the_same_on_less_memory(make: Callable[[bool], nn.Module], size: tuple[int, ...]) -> None:
    networks = [SegmentationModel(make(recompute), 16, 32, [0.0], [1.0]) for recompute in (False, True)]
    networks[1].load_state_dict(networks[0].state_dict())
    images = torch.rand(*size)
    plain, again = (_step(network, lambda network=network: network(images)) for network in networks)
    torch.testing.assert_close(again, plain, rtol=1e-4, atol=1e-5)
    assert len(plain[1]) == len(list(networks[0].parameters()))
    assert all(module.training for module in networks[1].modules())
    kept, less = (_kept_bytes(lambda network=network: network(images)) for network in networks)
    assert less < 0.6 * kept
