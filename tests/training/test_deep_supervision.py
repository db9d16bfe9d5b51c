"""The loss of a network's main and auxiliary outputs."""

import pytest
import torch
from torch import Tensor

from handbone.models.outputs import Auxiliary, Outputs
from handbone.training.deep_supervision import DeepSupervisionLoss
from handbone.training.losses import build_loss

BCE = build_loss({"bce": 1}, [1, 1, 1])
DEEP_BCE = DeepSupervisionLoss(BCE)
EQUAL = torch.ones(2)


def example() -> tuple[Tensor, Tensor]:
    coverage = torch.rand(2, 3, 8, 8)
    coverage[0, 1] = 0
    return torch.randn(2, 3, 8, 8), coverage


def test_logits_alone_have_the_plain_loss() -> None:
    logits, coverage = example()
    loss, weights = build_loss({"bce": 1, "dice": 1}, [1, 2, 3]), torch.tensor([1, 0.5])
    assert DeepSupervisionLoss(loss)(logits, coverage, weights) == loss(logits, coverage, weights)
    assert DeepSupervisionLoss(loss)(Outputs(logits, ()), coverage, weights) == loss(logits, coverage, weights)


def test_auxiliary_maps_are_compared_with_the_coverage_by_their_weight() -> None:
    logits, coverage = example()
    other, weights = torch.randn(2, 3, 8, 8), torch.tensor([1, 0.5])
    found = DEEP_BCE(Outputs(logits, (Auxiliary(other, 0.4), Auxiliary(logits, 0.1))), coverage, weights)
    expected = 1.1 * BCE(logits, coverage, weights) + 0.4 * BCE(other, coverage, weights)
    assert float(found) == pytest.approx(float(expected))


def test_auxiliary_scores_are_compared_with_the_presence_of_the_class() -> None:
    logits, coverage = example()
    right = torch.full((2, 3), 20.0)
    right[0, 1] = -20
    plain = BCE(logits, coverage, EQUAL)
    assert torch.allclose(DEEP_BCE(Outputs(logits, (Auxiliary(right, 1.0),)), coverage, EQUAL), plain)
    assert DEEP_BCE(Outputs(logits, (Auxiliary(-right, 0.5),)), coverage, EQUAL) == pytest.approx(float(plain) + 10, rel=1e-4)


def test_auxiliary_scores_are_weighted_by_sample_but_not_by_class() -> None:
    logits, coverage = example()
    wrong = torch.tensor([[-20.0, -20, -20], [20, 20, 20]])  # two of three classes are wrong in the first sample, none in the second
    loss = build_loss({"bce": 1}, [1, 0, 0])
    for weights, expected in [((1.0, 1.0), 20 / 3), ((1.0, 3.0), 10 / 3), ((1.0, 0.0), 40 / 3), ((0.0, 1.0), 0.0)]:
        each = torch.tensor(weights)
        found = DeepSupervisionLoss(loss)(Outputs(logits, (Auxiliary(wrong, 1.0),)), coverage, each) - loss(logits, coverage, each)
        assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_half_precision_is_compared_in_float32() -> None:
    logits, coverage = example()
    found = DEEP_BCE(Outputs(logits.bfloat16(), (Auxiliary(logits.bfloat16(), 1.0),)), coverage, EQUAL)
    assert found.dtype == torch.float32 and torch.allclose(found, 2 * BCE(logits.bfloat16().float(), coverage, EQUAL))
