"""Losses that are right for soft targets, absent classes and weighted samples."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from segmentation_models_pytorch import losses as published
from segmentation_models_pytorch.losses.lovasz import _lovasz_grad, _lovasz_softmax
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from conftest import Fails
from handbone.training import losses
from handbone.training.losses import LOSSES, LossInputs, build_loss, tversky
from handbone.training.lovasz import jaccard_steps, lovasz_extension
from handbone.training.signed_distances import signed_distances

SOFT = [name for name in LOSSES if name != "boundary"]  # it is linear in p, so its optimum is p in {0, 1}
BY_COUNTS = {
    "dice": lambda tp, fp, fn: 1 - (2 * tp + 1) / (2 * tp + fp + fn + 1),
    "jaccard": lambda tp, fp, fn: 1 - (tp + 1) / (tp + fp + fn + 1),
    "tversky": lambda tp, fp, fn: 1 - (tp + 1) / (tp + 0.3 * fp + 0.7 * fn + 1),
}


def value(name: str, logits: Tensor, coverage: Tensor, weights: Sequence[float] | None = None) -> Tensor:
    return LOSSES[name](LossInputs(logits, coverage, torch.ones(len(logits)) if weights is None else torch.tensor(weights)))


def soft(*shape: int, seed: int = 0) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 1.4 - 0.2).clamp(0, 1)


def binary(*shape: int, seed: int = 0) -> Tensor:
    return (soft(*shape, seed=seed) > 0.5).float()


def some_logits(*shape: int, seed: int = 1) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_optimum_for_an_even_soft_target_is_the_target(name: str, share: float) -> None:
    target = torch.full((1, 1, 32, 32), share)
    guesses = torch.linspace(0.05, 0.95, 91)
    found = torch.cat([value(name, torch.logit(guess).expand(target.shape), target) for guess in guesses])
    assert guesses[found.argmin()] == pytest.approx(share, abs=0.011)


@pytest.mark.parametrize("name", SOFT)
def test_no_prediction_is_better_than_the_target(name: str) -> None:
    target = soft(2, 1, 9, 7).clamp(0.02, 0.98)
    best = value(name, torch.logit(target), target)
    others = [target * 0.9, target**0.9, 0.9 * target + 0.1, (target > 0.5) * 0.98 + 0.01, torch.full_like(target, 0.5)]
    others += [(target + 0.02 * some_logits(2, 1, 9, 7, seed=seed)).clamp(0.001, 0.999) for seed in range(20)]
    assert all(value(name, torch.logit(other), target) > best for other in others)


@pytest.mark.parametrize("name", [name for name in SOFT if name != "lovasz"])  # it has a kink there
def test_at_the_target_the_gradient_is_zero(name: str) -> None:
    target = soft(2, 3, 8, 8).clamp(0.02, 0.98)
    logits = torch.logit(target).requires_grad_()
    (gradient,) = torch.autograd.grad(value(name, logits, target).sum(), logits)
    (elsewhere,) = torch.autograd.grad(value(name, logits + 1, target).sum(), logits)
    assert gradient.abs().max() < 1e-4 * elsewhere.abs().max()


@pytest.mark.parametrize("name", SOFT)
def test_descent_ends_at_the_target(name: str) -> None:
    target = soft(1, 1, 4, 4).clamp(0.2, 0.8)
    logits = torch.zeros_like(target, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.98)
    for _ in range(200):
        optimizer.zero_grad()
        value(name, logits, target).sum().backward()
        optimizer.step()
        schedule.step()
    assert (logits.sigmoid() - target).abs().max() < 0.02


@pytest.mark.parametrize("name", list(LOSSES))
def test_an_absent_class_costs_what_is_predicted_of_it(name: str) -> None:
    target = torch.zeros(2, 3, 8, 8)
    target[:, 0] = 1
    logits = torch.zeros(2, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(value(name, logits, target).sum(), logits)
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 1:] >= 0).all() and (gradient[:, 1:].amax((2, 3)) > 0).all()
    assert (gradient[:, 0] <= 0).all() and (gradient[:, 0].amin((1, 2)) < 0).all()
    nothing, little, much = (value(name, torch.full((2, 3, 8, 8), guess), target)[1] for guess in (-100.0, -2.0, 2.0))
    assert float(nothing) == pytest.approx(0, abs=1e-6) and nothing < little < much < math.inf


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("filled", [0.0, 1.0])
@pytest.mark.parametrize("guess", [-60.0, 60.0])
def test_gradients_are_finite_for_certain_predictions(name: str, filled: float, guess: float) -> None:
    logits = torch.full((1, 1, 8, 8), guess, requires_grad=True)
    found = value(name, logits, torch.full((1, 1, 8, 8), filled))
    found.sum().backward()
    assert torch.isfinite(found).all() and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", ["bce", "focal"])
def test_pixelwise_losses_are_the_published_ones(name: str) -> None:
    logits, target = some_logits(2, 3, 4, 5), binary(2, 3, 4, 5)
    expected = np.zeros(3)
    for n, c, h, w in np.ndindex(2, 3, 4, 5):
        right = 1 / (1 + math.exp(-float(logits[n, c, h, w]) * (1 if target[n, c, h, w] else -1)))
        expected[c] -= math.log(right) * ((1 - right) ** 2 if name == "focal" else 1) / (2 * 4 * 5)
    assert np.allclose(value(name, logits, target), expected, rtol=1e-5)


@pytest.mark.parametrize("name", list(BY_COUNTS))
def test_overlaps_of_masks_follow_from_their_counts(name: str) -> None:
    found, target = binary(2, 3, 6, 5, seed=1), binary(2, 3, 6, 5)
    expected = []
    for c in range(3):
        pairs = [(bool(found[n, c, h, w]), bool(target[n, c, h, w])) for n, h, w in np.ndindex(2, 6, 5)]
        expected.append(BY_COUNTS[name](pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True))))
    assert np.allclose(value(name, 200 * found - 100, target), expected, rtol=1e-6)


def test_for_masks_the_losses_equal_those_of_smp() -> None:
    logits, target = 200 * binary(2, 3, 6, 5, seed=1) - 100, binary(2, 3, 6, 5)
    jaccard = published.JaccardLoss("multilabel", smooth=1.0)(logits, target)
    tversky = published.TverskyLoss("multilabel", smooth=1.0, alpha=0.3, beta=0.7)(logits, target)
    assert torch.allclose(value("jaccard", logits, target).mean(), jaccard)
    assert torch.allclose(value("tversky", logits, target).mean(), tversky)
    logits = some_logits(2, 3, 6, 5)
    assert torch.allclose(value("focal", logits, target).mean(), published.FocalLoss("multilabel", gamma=2.0)(logits, target))
    by_class = [_lovasz_softmax(logits[:, c].sigmoid(), target[:, c], classes=[1], per_image=True) for c in range(3)]
    assert torch.allclose(value("lovasz", logits, target), torch.stack(by_class))


@pytest.mark.parametrize(("alpha", "name"), [(0.5, "dice"), (1.0, "jaccard")])
def test_tversky_becomes_dice_and_jaccard(alpha: float, name: str) -> None:
    logits, target = some_logits(2, 3, 6, 5), soft(2, 3, 6, 5)
    # dice's fraction is that of tversky with numerator and denominator doubled, and so is the added pixel
    probs = logits.sigmoid()
    shared, squares = (probs * target).sum((0, 2, 3)), (probs.square() + target.square()).sum((0, 2, 3))
    expected = {"dice": (2 * shared + 2) / (squares + 2), "jaccard": (shared + 1) / (squares - shared + 1)}
    assert torch.allclose(tversky(LossInputs(logits, target, torch.ones(2)), alpha, alpha), 1 - expected[name])


def test_dice_of_known_values() -> None:
    target = torch.zeros(1, 1, 2, 2)
    target[..., 0] = 1
    perfect = torch.where(target > 0, 100.0, -100.0)
    assert float(value("dice", perfect, target)) == pytest.approx(0)
    assert float(value("dice", -perfect, target)) == pytest.approx(1 - 1 / 5)


def test_lovasz_of_a_soft_target_is_that_of_its_binary_parts() -> None:
    quarters = torch.randint(0, 5, (6, 5), generator=torch.Generator().manual_seed(0))
    logits = some_logits(1, 1, 6, 5)
    errors = (logits.sigmoid() - quarters / 4).abs().flatten().repeat_interleave(4)
    labels = (torch.arange(4) < quarters.flatten()[:, None]).float().flatten()
    errors, order = errors.sort(descending=True)
    assert float(value("lovasz", logits, quarters[None, None] / 4)) == pytest.approx(float(errors @ _lovasz_grad(labels[order])), rel=1e-5)


def test_lovasz_keeps_the_small_steps_of_a_large_image() -> None:
    coverage = soft(1, 1, 1, 1 << 18)[0, 0, 0]
    exact = jaccard_steps(coverage.double())
    assert torch.allclose(jaccard_steps(coverage).double(), exact, rtol=1e-4, atol=0)
    assert float(exact.sum()) == pytest.approx(1)


def test_lovasz_class_by_class_has_the_bits_of_all_classes_at_once() -> None:
    """Value and gradient, of a formula that autograd differentiates; some errors are equal, some 0."""
    logits, target, weights = some_logits(3, 4, 16, 16).requires_grad_(), soft(3, 4, 16, 16), torch.tensor([1, 0.5, 0])
    logits.data[0, 0, :4], target[0, 0, :4] = 0, 0.5
    coverage = target.flatten(2)
    errors, order = (logits.sigmoid().flatten(2) - coverage).abs().sort(descending=True)
    by_map = (errors * jaccard_steps(coverage.gather(2, order))).sum(2)
    expected = (weights[:, None] * by_map).sum(0) / weights.sum()
    found = value("lovasz", logits, target, weights.tolist())
    assert torch.equal(found, expected)
    by_class = torch.tensor([1.0, 2.0, 0.25, 0.0])
    (one,), (other,) = (torch.autograd.grad(each @ by_class, logits) for each in (found, expected))
    assert torch.equal(one, other)


def outline_distances(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    distances = np.zeros(inside.shape)
    for here in np.ndindex(inside.shape):
        nearest = min(math.dist(here, there) for there in np.ndindex(inside.shape) if inside[there] != inside[here])
        distances[here] = (nearest - 0.5) * (-1 if inside[here] else 1)
    return distances


def test_boundary_is_the_mean_of_p_times_the_signed_distance() -> None:
    logits, target = some_logits(2, 2, 6, 8), soft(2, 2, 6, 8) ** 4
    expected = np.zeros(2)
    for n, c in product(range(2), range(2)):
        distances = outline_distances((target[n, c] >= 0.5).numpy()) / 10
        expected[c] += (logits[n, c].sigmoid().numpy() * distances).mean() / 2
    assert np.allclose(value("boundary", logits, target), expected, atol=1e-7)


@pytest.mark.parametrize(("shape", "points"), [((40, 46), 16), ((33, 20), 8), ((30, 31), 30)])
def test_distances_of_a_large_image_are_near_the_exact_ones(shape: tuple[int, int], points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Distances change by at most a pixel per pixel, so that linear ones differ by less than the way to the nearest exact one."""
    monkeypatch.setattr("handbone.training.signed_distances.POINTS", points)
    stride, masks = math.ceil(max(shape) / points), np.zeros((3, *shape), bool)
    masks[0, 5:25, 3:12], masks[1, :, 15:17], masks[2, 7, 9] = True, True, True
    masks[0, 9:12, 6:8] = False
    found = signed_distances(torch.from_numpy(masks)[None])[0].numpy() * math.hypot(*shape)
    expected = np.stack([outline_distances(mask) for mask in masks])
    assert ((found < 0) == masks).all() and (np.abs(found) > 0.499).all()
    assert np.abs(found - expected).max() < 0.75 * stride
    exact = found[:, :-stride:stride, :-stride:stride] - expected[:, :-stride:stride, :-stride:stride]
    assert np.abs(exact).max() < 1e-4


def test_boundary_without_an_outline_is_bounded() -> None:
    logits = some_logits(1, 2, 6, 8)
    target = torch.stack([torch.zeros(6, 8), torch.ones(6, 8)])[None]
    assert torch.allclose(value("boundary", logits, target), logits.sigmoid().mean((0, 2, 3)) * torch.tensor([1, -1]))


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_sample_of_weight_0_is_ignored(name: str) -> None:
    logits, target = some_logits(3, 2, 6, 5).requires_grad_(), soft(3, 2, 6, 5)
    padded, fewer = value(name, logits, target, [1, 0, 1]), value(name, logits[::2], target[::2])
    assert torch.allclose(padded, fewer)
    (padded_gradient,), (gradient,) = (torch.autograd.grad(each.sum(), logits) for each in (padded, fewer))
    assert torch.allclose(padded_gradient, gradient, atol=1e-8)
    assert not padded_gradient[1].any()


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_sample_of_weight_2_counts_as_two(name: str) -> None:
    logits, target = some_logits(2, 2, 6, 5), soft(2, 2, 6, 5)
    twice = torch.tensor([0, 0, 1])
    assert torch.allclose(value(name, logits, target, [2, 1]), value(name, logits[twice], target[twice]))


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_batch_of_padding_has_no_gradient(name: str) -> None:
    logits = some_logits(2, 2, 6, 5).requires_grad_()
    found = value(name, logits, soft(2, 2, 6, 5), [0, 0])
    found.sum().backward()
    assert not found.any() and not logits.grad.any()


def test_losses_add_up_by_weight() -> None:
    logits, target, weights = torch.randn(2, 3, 8, 8), torch.rand(2, 3, 8, 8), torch.tensor([1, 0.5])
    inputs = LossInputs(logits, target, weights)
    expected = (2 * LOSSES["bce"](inputs) + 0.5 * LOSSES["dice"](inputs)).mean()
    assert torch.allclose(build_loss({"bce": 2, "dice": 0.5}, [1, 1, 1])(logits, target, weights), expected)


def test_with_equal_class_weights_bce_and_dice_are_the_plain_formulas() -> None:
    logits, target = some_logits(2, 3, 8, 8), soft(2, 3, 8, 8)
    probs, over = logits.sigmoid(), (0, 2, 3)
    dice = 1 - (2 * (probs * target).sum(over) + 1) / (probs.square().sum(over) + target.square().sum(over) + 1)
    expected = functional.binary_cross_entropy_with_logits(logits, target) + dice.mean()
    assert torch.allclose(build_loss({"bce": 1, "dice": 1}, [1, 1, 1])(logits, target, torch.ones(2)), expected)


def test_classes_are_weighted_relative_to_each_other() -> None:
    logits, target = some_logits(2, 3, 8, 8), soft(2, 3, 8, 8)
    first, second, third = value("dice", logits, target)
    found = build_loss({"dice": 1}, [2, 0, 6])(logits, target, torch.ones(2))
    assert torch.allclose(found, (first + 3 * third) / 4) and not torch.allclose(found, (first + second + third) / 3)


def test_a_schedule_is_linear_between_its_epochs_and_constant_outside() -> None:
    logits, target, weights = some_logits(1, 1, 8, 8), soft(1, 1, 8, 8), torch.ones(1)
    loss = build_loss({"dice": 1, "bce": [[3, 1.0], [7, 0.0], [8, 4.0]]}, [1])
    dice, bce = float(value("dice", logits, target)), float(value("bce", logits, target))
    for epoch, weight in [(1, 1), (3, 1), (4, 0.75), (7, 0), (8, 4), (100, 4)]:
        loss.epoch = epoch
        assert float(loss(logits, target, weights)) == pytest.approx(dice + weight * bce, rel=1e-5)


def test_the_first_epoch_is_1() -> None:
    logits, target, weights = some_logits(1, 1, 8, 8), soft(1, 1, 8, 8), torch.ones(1)
    assert torch.allclose(build_loss({"bce": [[1, 1.0], [2, 9.0]]}, [1])(logits, target, weights), value("bce", logits, target))


def test_a_loss_of_weight_0_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(inputs: LossInputs) -> Tensor:
        raise AssertionError("computed")

    monkeypatch.setitem(losses.LOSSES, "boundary", refused)
    loss = build_loss({"bce": 1, "boundary": [[1, 0.0], [2, 0.1]]}, [1])
    example = some_logits(1, 1, 8, 8), soft(1, 1, 8, 8), torch.ones(1)
    assert torch.isfinite(loss(*example))
    loss.epoch = 2
    with pytest.raises(AssertionError, match="computed"):
        loss(*example)


class Copies(TorchDispatchMode):
    """Counts the copies between devices."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves((args, kwargs, result)) if isinstance(each, Tensor) and each.dim()]
        self.count += len({each.device for each in tensors}) > 1
        return result


@pytest.mark.parametrize("name", list(LOSSES))
def test_no_loss_waits_for_its_device(name: str) -> None:
    """The values of a tensor on the device "meta" cannot be asked for; and nothing is copied to the device after the first call."""
    loss = build_loss({name: 1}, [1, 2])
    logits = torch.empty(2, 2, 8, 8, device="meta", requires_grad=True)
    example = logits, torch.empty(2, 2, 8, 8, device="meta"), torch.empty(2, device="meta")
    loss(*example)
    with Copies() as copies:
        loss(*example).backward()
    assert copies.count == 0 and logits.grad is not None


def test_what_the_compiler_takes_as_one_operation_does_not_wait_either() -> None:
    maps = torch.empty(2, 2, 8, 8, device="meta")
    with Copies() as copies:
        by_map, gradient = lovasz_extension._init_fn(maps, maps)
        distances = signed_distances._init_fn(maps > 0.5)
    assert copies.count == 0
    assert by_map.shape == (2, 2) and gradient.shape == distances.shape == maps.shape


def test_all_unknown_names_are_listed(fails: Fails) -> None:
    with fails("train.loss", "train.loss.dic", "train.loss.lovas"):
        build_loss({"bce": 1, "dic": 1, "lovas": 1}, [1])


@pytest.mark.parametrize(
    ("weights", "epoch"),
    [
        ({"bce": 0.0}, 1),
        ({"bce": [[2, 0.0], [5, 1.0]]}, 1),  # constant before its first epoch
        ({"bce": [[0, 0.0]], "dice": [[0, 0.0], [4, 1.0], [6, 0.0]]}, 6),
        ({"bce": [[1, 1.0], [5, 0.0]], "dice": [[5, 0.0], [9, 1.0]]}, 5),
    ],
)
def test_an_epoch_without_any_loss_is_an_error(weights: dict[str, float | list[list[float]]], epoch: int, fails: Fails) -> None:
    with fails("train.loss_schedule", f"train.loss, epoch {epoch}"):
        build_loss(weights, [1])


def test_schedule_points_before_the_first_epoch_are_ignored() -> None:
    loss = build_loss({"bce": [[0, 0.0], [2, 2.0]]}, [1])
    logits, target = some_logits(1, 1, 8, 8), soft(1, 1, 8, 8)
    assert torch.allclose(loss(logits, target, torch.ones(1)), value("bce", logits, target))


def test_class_weights_of_0_for_all_are_an_error(fails: Fails) -> None:
    with fails("train.class_weights", "train.class_weights"):
        build_loss({"bce": 1}, [0, 0])
