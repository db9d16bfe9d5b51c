"""Losses that are right for soft targets and absent classes."""

import pytest
import torch

from handbone.errors import UserError
from handbone.training.losses import LOSSES, combined


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_optimum_for_a_soft_target_is_the_target(name: str, share: float) -> None:
    target = torch.full((1, 1, 32, 32), share)
    guesses = torch.linspace(0.05, 0.95, 91)
    losses = torch.stack([LOSSES[name](torch.logit(guess).expand(target.shape), target) for guess in guesses])
    assert guesses[losses.argmin()] == pytest.approx(share, abs=0.011)


@pytest.mark.parametrize("name", list(LOSSES))
def test_an_absent_class_pushes_down_and_stays_finite(name: str) -> None:
    logits = torch.zeros(2, 3, 8, 8, requires_grad=True)
    target = torch.zeros(2, 3, 8, 8)
    target[:, 0] = 1
    loss = LOSSES[name](logits, target)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 1:] > 0).all()
    assert (gradient[:, 0] < 0).all()


def test_dice_of_known_values() -> None:
    target = torch.zeros(1, 1, 2, 2)
    target[..., 0] = 1
    perfect = torch.where(target > 0, 100.0, -100.0)
    assert float(LOSSES["dice"](perfect, target)) == pytest.approx(0)
    assert float(LOSSES["dice"](-perfect, target)) == pytest.approx(1 - 1 / 5)


def test_losses_add_up_by_weight() -> None:
    logits, target = torch.randn(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    expected = 2 * LOSSES["bce"](logits, target) + 0.5 * LOSSES["dice"](logits, target)
    assert torch.allclose(combined({"bce": 2, "dice": 0.5})(logits, target), expected)


def test_unknown_names_are_told() -> None:
    with pytest.raises(UserError, match="did you mean dice"):
        combined({"bce": 1, "dic": 1})
