"""Every output of a network is compared with what it stands for."""

import pytest
import torch
from torch import Tensor

from handbone.models.outputs import Auxiliary, Outputs
from handbone.training.deep_supervision import supervised
from handbone.training.losses import combined

BCE = combined({"bce": 1}, [1, 1, 1])
EVEN = torch.ones(2)


def example() -> tuple[Tensor, Tensor]:
    coverage = torch.rand(2, 3, 8, 8)
    coverage[0, 1] = 0
    return torch.randn(2, 3, 8, 8), coverage


def test_logits_alone_have_the_plain_loss() -> None:
    logits, coverage = example()
    loss, weights = combined({"bce": 1, "dice": 1}, [1, 2, 3]), torch.tensor([1, 0.5])
    assert supervised(loss)(logits, coverage, weights) == loss(logits, coverage, weights)
    assert supervised(loss)(Outputs(logits, ()), coverage, weights) == loss(logits, coverage, weights)


def test_maps_are_compared_with_the_coverage_by_their_weight() -> None:
    logits, coverage = example()
    other, weights = torch.randn(2, 3, 8, 8), torch.tensor([1, 0.5])
    found = supervised(BCE)(Outputs(logits, (Auxiliary(other, 0.4), Auxiliary(logits, 0.1))), coverage, weights)
    expected = 1.1 * BCE(logits, coverage, weights) + 0.4 * BCE(other, coverage, weights)
    assert float(found) == pytest.approx(float(expected))


def test_numbers_are_compared_with_whether_the_class_is_there() -> None:
    logits, coverage = example()
    right = torch.full((2, 3), 20.0)
    right[0, 1] = -20
    plain = BCE(logits, coverage, EVEN)
    assert torch.allclose(supervised(BCE)(Outputs(logits, (Auxiliary(right, 1.0),)), coverage, EVEN), plain)
    assert supervised(BCE)(Outputs(logits, (Auxiliary(-right, 0.5),)), coverage, EVEN) == pytest.approx(float(plain) + 10, rel=1e-4)


def test_numbers_are_weighted_by_samples_and_not_by_classes() -> None:
    logits, coverage = example()
    wrong = torch.tensor([[-20.0, -20, -20], [20, 20, 20]])  # in two of three classes of the first sample, in none of the second
    loss = combined({"bce": 1}, [1, 0, 0])
    for weights, expected in [((1.0, 1.0), 20 / 3), ((1.0, 3.0), 10 / 3), ((1.0, 0.0), 40 / 3), ((0.0, 1.0), 0.0)]:
        each = torch.tensor(weights)
        found = supervised(loss)(Outputs(logits, (Auxiliary(wrong, 1.0),)), coverage, each) - loss(logits, coverage, each)
        assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_half_precision_is_compared_in_float32() -> None:
    logits, coverage = example()
    found = supervised(BCE)(Outputs(logits.bfloat16(), (Auxiliary(logits.bfloat16(), 1.0),)), coverage, EVEN)
    assert found.dtype == torch.float32 and torch.allclose(found, 2 * BCE(logits.bfloat16().float(), coverage, EVEN))
