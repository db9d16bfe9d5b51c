"""Synchronised batch norm: the same network."""

import copy

import pytest
import torch
from torch import nn

from conftest import build
from handbone.models.recompute import recomputed
from handbone.models.synchronized import synchronize_batch_norm


@pytest.mark.parametrize("encoder", ["resnet18", "tu-mobilenetv3_small_050", "tu-regnetx_002"])
@torch.no_grad()
def test_outputs_and_weights_are_the_same(encoder: str) -> None:
    """timm's batch norms contain an activation, which torch's conversion drops."""
    model = build("Unet", encoder, in_channels=1, classes=2)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer += 0.1 * torch.rand_like(buffer)
    converted = synchronize_batch_norm(copy.deepcopy(model))
    assert converted.state_dict().keys() == model.state_dict().keys()
    norms = [part for part in converted.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    assert norms and all(isinstance(norm, nn.SyncBatchNorm) and norm.training for norm in norms)
    images = torch.rand(2, 1, 64, 64)
    for mode in (False, True):
        assert torch.equal(converted.train(mode)(images), model.train(mode)(images))
    assert all(torch.equal(tensor, converted.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_part_that_is_recomputed_can_be_synchronised() -> None:
    """SyncBatchNorm asserts that there is a counter. It counts each batch once."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    part = synchronize_batch_norm(copy.deepcopy(plain))
    images = torch.rand(2, 1, 8, 8)
    recomputed(part, images).sum().backward()
    plain(images).sum().backward()
    assert part.get_buffer("1.num_batches_tracked") == 1
    for name, tensor in plain.state_dict().items():
        assert torch.equal(part.state_dict()[name], tensor)
    for (name, parameter), other in zip(plain.named_parameters(), part.parameters(), strict=True):
        assert parameter.grad is not None and other.grad is not None
        torch.testing.assert_close(other.grad, parameter.grad, msg=name)
