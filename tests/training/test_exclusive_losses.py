"""Losses of classes that exclude each other: softmax, and void that counts nowhere."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from conftest import Fails
from handbone.config.params import SIGMOID_LOSSES, SOFTMAX_LOSSES
from handbone.training.losses import EXCLUSIVE_LOSSES, LOSSES, ExclusiveInputs, build_loss

VOID = 4  # the number of classes, beyond the last one
SHAPE = (2, 9, 7)


def some_labels(seed: int = 0) -> Tensor:
    """(N, H, W) of 0 to 4, where 4 is void."""
    return torch.randint(0, VOID + 1, SHAPE, generator=torch.Generator().manual_seed(seed))


def some_logits(seed: int = 1) -> Tensor:
    return 2 * torch.randn(SHAPE[0], VOID, *SHAPE[1:], generator=torch.Generator().manual_seed(seed))


def coverage(labels: Tensor) -> Tensor:
    """(N, C, H, W) of 0 and 1."""
    return functional.one_hot(labels, VOID + 1).movedim(3, 1)[:, :VOID].float()


def value(name: str, logits: Tensor, target: Tensor, weights: tuple[float, ...] = (1, 1)) -> Tensor:
    return EXCLUSIVE_LOSSES[name](ExclusiveInputs(logits, target, torch.tensor(weights, dtype=torch.float32)))


def test_cross_entropy_is_that_of_torch() -> None:
    logits, labels = some_logits(), some_labels()
    expected = functional.cross_entropy(logits, labels, ignore_index=VOID)
    assert torch.allclose(build_loss({"cross_entropy": 1}, [1] * VOID, exclusive=True)(logits, coverage(labels), torch.ones(2)), expected)


def test_class_weights_weight_the_pixels_of_a_class_as_in_torch() -> None:
    logits, labels, weights = some_logits(), some_labels(), [1.0, 5.0, 0.0, 2.0]
    found = build_loss({"cross_entropy": 1}, weights, exclusive=True)(logits, coverage(labels), torch.ones(2))
    summed = functional.cross_entropy(logits, labels, torch.tensor(weights), ignore_index=VOID, reduction="sum")
    assert torch.allclose(found, summed / (labels < VOID).sum() / (sum(weights) / VOID))


def test_dice_is_the_plain_one_over_the_pixels_that_are_not_void() -> None:
    logits, labels = some_logits(), some_labels()
    valid, probs, truth = labels < VOID, logits.softmax(1), coverage(labels)
    expected = []
    for index in range(VOID):
        p, y = probs[:, index][valid], truth[:, index][valid]
        expected.append(1 - (2 * (p * y).sum() + 1) / (p.square().sum() + y.square().sum() + 1))
    assert torch.allclose(value("dice", logits, truth), torch.stack(expected))


@pytest.mark.parametrize("name", list(EXCLUSIVE_LOSSES))
def test_void_changes_nothing_and_has_no_gradient(name: str) -> None:
    labels = some_labels()
    void = (labels == VOID)[:, None]
    logits = some_logits().requires_grad_()
    found = value(name, logits, coverage(labels)).sum()
    (gradient,) = torch.autograd.grad(found, logits)
    assert not gradient[void.expand_as(gradient)].any() and gradient[~void.expand_as(gradient)].abs().min() > 0
    assert torch.allclose(value(name, torch.where(void, some_logits(5), logits), coverage(labels)).sum(), found)


@pytest.mark.parametrize("name", list(EXCLUSIVE_LOSSES))
def test_at_the_shares_of_what_is_not_void_the_gradient_is_zero(name: str) -> None:
    """At the network's size a pixel is of several classes, and void in part."""
    shares = some_logits(3).softmax(1)
    target = shares * torch.rand(2, 1, *SHAPE[1:], generator=torch.Generator().manual_seed(4))
    logits = shares.log().requires_grad_()
    (gradient,) = torch.autograd.grad(value(name, logits, target).sum(), logits)
    (elsewhere,) = torch.autograd.grad(value(name, logits + some_logits(), target).sum(), logits)
    assert gradient.abs().max() < 1e-4 * elsewhere.abs().max()


@pytest.mark.parametrize("name", list(EXCLUSIVE_LOSSES))
def test_a_batch_of_void_and_a_sample_of_weight_0_cost_nothing(name: str) -> None:
    logits, target = some_logits().requires_grad_(), coverage(some_labels())
    (gradient,) = torch.autograd.grad(value(name, logits, torch.zeros_like(target)).sum(), logits)
    assert not gradient.any()
    alone = value(name, logits[:1], target[:1], (1,))
    assert torch.allclose(value(name, logits, target, (1, 0)), alone)


def test_the_names_in_the_parameters_are_those_of_the_losses() -> None:
    assert set(SIGMOID_LOSSES) == LOSSES.keys() - EXCLUSIVE_LOSSES.keys()
    assert set(SOFTMAX_LOSSES) == EXCLUSIVE_LOSSES.keys() - LOSSES.keys()


def test_losses_of_the_other_kind_are_unknown(fails: Fails) -> None:
    with fails("train.loss", "train.loss.bce"):
        build_loss({"bce": 1, "dice": 1}, [1], exclusive=True)
    with fails("train.loss", "train.loss.cross_entropy"):
        build_loss({"cross_entropy": 1}, [1])
