"""Every output of a network is compared with what it stands for."""

import pytest
import torch
from torch import Tensor

from handbone.models.parts import Auxiliary, Outputs
from handbone.training.losses import bce, combined
from handbone.training.supervise import supervised


def example() -> tuple[Tensor, Tensor]:
    coverage = torch.rand(2, 3, 8, 8)
    coverage[0, 1] = 0
    return torch.randn(2, 3, 8, 8), coverage


def test_logits_alone_have_the_plain_loss() -> None:
    logits, coverage = example()
    loss = combined({"bce": 1, "dice": 1})
    assert supervised(loss)(logits, coverage) == loss(logits, coverage)
    assert supervised(loss)(Outputs(logits, ()), coverage) == loss(logits, coverage)


def test_maps_are_compared_with_the_coverage_by_their_weight() -> None:
    logits, coverage = example()
    other = torch.randn(2, 3, 8, 8)
    found = supervised(bce)(Outputs(logits, (Auxiliary(other, 0.4), Auxiliary(logits, 0.1))), coverage)
    assert float(found) == pytest.approx(float(1.1 * bce(logits, coverage) + 0.4 * bce(other, coverage)))


def test_numbers_are_compared_with_whether_the_class_is_there() -> None:
    logits, coverage = example()
    right = torch.full((2, 3), 20.0)
    right[0, 1] = -20
    plain = bce(logits, coverage)
    assert torch.allclose(supervised(bce)(Outputs(logits, (Auxiliary(right, 1.0),)), coverage), plain)
    assert supervised(bce)(Outputs(logits, (Auxiliary(-right, 0.5),)), coverage) == pytest.approx(float(plain) + 10, rel=1e-4)


def test_half_precision_is_compared_in_float32() -> None:
    logits, coverage = example()
    found = supervised(bce)(Outputs(logits.bfloat16(), (Auxiliary(logits.bfloat16(), 1.0),)), coverage)
    assert found.dtype == torch.float32 and torch.allclose(found, 2 * bce(logits.bfloat16().float(), coverage))
