"""Losses by name: for soft targets, absent classes, weighted samples and several processes.

Each takes the `LossInputs` of a batch and returns (C,), one value per class, built from sums over the samples of all processes.
So it does not matter how samples are divided among processes, and a sample of weight 0 counts as if it were not there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from handbone.training.distributed import weighted_mean, weighted_sum
from handbone.training.lovasz import lovasz_extension
from handbone.training.signed_distances import signed_distances
from handbone.utils.errors import Problem, nearest, raise_if_any

LossWeight = float | list[list[float]]  # constant, or rising [epoch, weight] pairs

TVERSKY_ALPHA, TVERSKY_BETA = 0.3, 0.7  # weights of false positives and of false negatives


class LossInputs:
    """A batch, and the maps and sums that several losses need, each computed once.

    logits (N, C, H, W), coverage (N, C, H, W) in 0..1, weights (N,) of the samples, 0 for padding; all float32.
    """

    def __init__(self, logits: Tensor, coverage: Tensor, weights: Tensor) -> None:
        self.logits, self.coverage, self.weights = logits, coverage, weights
        self._known: dict[str, Tensor] = {}

    @property
    def probs(self) -> Tensor:
        """Probabilities (N, C, H, W) in 0..1."""
        return self._once("probs", self.logits.sigmoid)

    @property
    def bce_map(self) -> Tensor:
        """Binary cross entropy of each pixel, (N, C, H, W)."""
        bce = functional.binary_cross_entropy_with_logits
        return self._once("bce_map", lambda: bce(self.logits, self.coverage, reduction="none"))

    @property
    def intersection(self) -> Tensor:
        """Sum of p·y, (C,), in pixels."""
        return self._once("intersection", lambda: self.total(self.probs * self.coverage))

    @property
    def squares(self) -> Tensor:
        """Sum of p² + y², (C,), in pixels."""
        return self._once("squares", lambda: weighted_sum(_square_sums(self.probs) + _square_sums(self.coverage), self.weights))

    def _once(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """As functools.cached_property, whose lock torch.compile cannot follow."""
        if name not in self._known:
            self._known[name] = compute()
        return self._known[name]

    def total(self, values: Tensor) -> Tensor:
        """(N, C, H, W) -> (C,) weighted sum over pixels and samples."""
        return weighted_sum(values.sum((2, 3)), self.weights)

    def mean(self, values: Tensor) -> Tensor:
        """(N, C, H, W) -> (C,) weighted mean over pixels and samples."""
        pixels = math.prod(values.shape[2:])
        return weighted_mean(values.sum((2, 3)) / pixels, self.weights)  # the gradient of .mean((2, 3)) would be stored for each pixel


class ExclusiveInputs(LossInputs):
    """A batch of classes that exclude each other: p is the softmax over them, and void (pixels in no class) counts nowhere.

    At the network's size a pixel is void in part: coverage becomes the classes' shares of the rest, by whose size the pixel is weighted.
    """

    def __init__(self, logits: Tensor, coverage: Tensor, weights: Tensor) -> None:
        covered = coverage.sum(1, keepdim=True)
        super().__init__(logits, coverage / covered.clamp_min(torch.finfo(covered.dtype).eps), weights)
        self.valid = covered.clamp(max=1)  # (N, 1, H, W) in 0..1

    @property
    def probs(self) -> Tensor:
        """Probabilities (N, C, H, W) in 0..1 with the sum 1."""
        return self._once("probs", lambda: self.logits.softmax(1))

    @property
    def squares(self) -> Tensor:
        """Sum of p² + y², (C,), in pixels."""
        return self._once("squares", lambda: self.total(self.probs.square() + self.coverage.square()))

    def total(self, values: Tensor) -> Tensor:
        """(N, C, H, W) -> (C,) weighted sum over pixels that are not void, and samples."""
        return super().total(values * self.valid)

    def mean(self, values: Tensor) -> Tensor:
        """(N, C, H, W) -> (C,) weighted mean over pixels that are not void, and samples; 0 if all of them are."""
        sums = super().total(torch.cat([values * self.valid, self.valid], 1))  # joined: one message instead of two
        return sums[:-1] / sums[-1].clamp_min(torch.finfo(sums.dtype).eps)


def _square_sums(maps: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C)."""
    return maps.square().sum((2, 3))


def bce(inputs: LossInputs) -> Tensor:
    """Binary cross entropy; its optimum is p = y."""
    return inputs.mean(inputs.bce_map)


def focal(inputs: LossInputs) -> Tensor:
    """(y - p)² · bce: the focal loss with gamma = 2 (Lin et al., 2017), for soft targets as in the quality focal loss (Li et al., 2020).

    For y in {0, 1} it is the published (1 - p_t)² · bce without the class balance alpha. For a soft target its minimum is at p = y, where
    the published one has none.
    """
    return inputs.mean((inputs.probs - inputs.coverage).square() * inputs.bce_map)


def dice(inputs: LossInputs) -> Tensor:
    """1 - 2·sum(p·y) / (sum(p²) + sum(y²)) over the batch (Milletari et al., V-Net, 2016).

    The squares matter: with plain sums the optimum for a soft target is not p = y but p in {0, 1}.
    One pixel is added to numerator and denominator, so that a class that is absent from the batch costs only what is predicted of it.
    """
    return 1 - (2 * inputs.intersection + 1) / (inputs.squares + 1)


def jaccard(inputs: LossInputs) -> Tensor:
    """1 - sum(p·y) / (sum(p²) + sum(y²) - sum(p·y)), the Tanimoto form of the Jaccard index; squares and added pixel as in `dice`."""
    return 1 - (inputs.intersection + 1) / (inputs.squares - inputs.intersection + 1)


def tversky(inputs: LossInputs, alpha: float = TVERSKY_ALPHA, beta: float = TVERSKY_BETA) -> Tensor:
    """1 - sum(p·y) / (sum(p·y) + alpha·fp + beta·fn), fp = sum(max(p - y, 0)²), fn = sum(max(y - p, 0)²) (after Salehi et al., 2017).

    Where p and y are 0 or 1 it is the published index, whose fp = sum(p·(1 - y)) and fn = sum((1 - p)·y) push soft targets to p in {0, 1}.
    Here both are 0 only at p = y, which is the optimum. As p² + y² = 2·p·y + (p - y)², it equals `dice` with alpha = beta = 1/2 and
    `jaccard` with alpha = beta = 1, except for the pixel that is added to numerator and denominator here as well.
    """
    excess = inputs.probs - inputs.coverage
    wrong = inputs.total(torch.where(excess > 0, alpha, beta) * excess.square())
    return 1 - (inputs.intersection + 1) / (inputs.intersection + wrong + 1)


def lovasz(inputs: LossInputs) -> Tensor:
    """Lovász extension of the Jaccard loss at the errors |y - p| of each image, then the mean (Berman et al., 2018, with a sigmoid).

    A soft pixel counts as two parts with the same error, y inside and 1 - y outside: once it is wrong, the intersection loses y and the
    union gains 1 - y. For y in {0, 1} that is the published loss. All errors are 0 at p = y, which is the optimum. (The hinge form of the
    same paper is defined for binary labels only.) Of a class that is absent from an image only the largest p counts.
    """
    return weighted_mean(lovasz_extension(inputs.probs, inputs.coverage)[0], inputs.weights)


def boundary(inputs: LossInputs) -> Tensor:
    """Mean of p times the signed distance to the outline of coverage >= 0.5 (Kervadec et al., 2019), -1..1.

    The distance is negative inside, in units of the image's diagonal, and 1 everywhere if the class is absent. The loss is linear in p:
    its optimum is p = 1 inside and 0 outside, not p = y, and a small class hardly changes it. Combine it with other losses, by a schedule.
    """
    return inputs.mean(inputs.probs * signed_distances(inputs.coverage >= 0.5))


def cross_entropy(inputs: LossInputs) -> Tensor:
    """-y·log(softmax) times the number of classes, so that the mean of the classes is the cross entropy; its optimum is p = y.

    With equal class weights it is torch's `cross_entropy` with void as `ignore_index`. A class's weight counts for its pixels, as there,
    but relative to the mean of all class weights, whatever classes a batch shows.
    """
    return inputs.logits.shape[1] * inputs.mean(-inputs.coverage * inputs.logits.log_softmax(1))


LOSSES: dict[str, Callable[[LossInputs], Tensor]] = {
    "bce": bce,
    "focal": focal,
    "dice": dice,
    "jaccard": jaccard,
    "tversky": tversky,
    "lovasz": lovasz,
    "boundary": boundary,
}


EXCLUSIVE_LOSSES: dict[str, Callable[[LossInputs], Tensor]] = {
    "cross_entropy": cross_entropy,
    "dice": dice,
    "jaccard": jaccard,
    "tversky": tversky,
}
"""Those of `ExclusiveInputs`."""


def loss_values(names: tuple[str, ...], logits: Tensor, coverage: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """The losses `names` of a batch as in `LossInputs`, each (C,)."""
    inputs = LossInputs(logits, coverage, weights)
    return tuple(LOSSES[name](inputs) for name in names)


def exclusive_loss_values(names: tuple[str, ...], logits: Tensor, coverage: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """The losses `names` of a batch as in `ExclusiveInputs`, each (C,)."""
    inputs = ExclusiveInputs(logits, coverage, weights)
    return tuple(EXCLUSIVE_LOSSES[name](inputs) for name in names)


class Criterion:
    """Logits and coverage (N, C, H, W), weights (N,) of the samples -> the weighted sum of losses in the epoch `epoch`, a scalar.

    weights: of the losses by name; class_weights: C numbers, relative to each other. Each loss is the mean of its classes by these weights.
    A loss is not computed in epochs in which its weight is 0. The trainer sets `epoch`, which counts from 1.
    exclusive: classes exclude each other.
    """

    def __init__(self, weights: Mapping[str, LossWeight], class_weights: Sequence[float], exclusive: bool = False) -> None:
        self.epoch = 1
        self._weights = dict(weights)
        self._class_shares = torch.tensor(class_weights, dtype=torch.float32) / sum(class_weights)
        # a training may compile it
        self.compute: Callable[..., tuple[Tensor, ...]] = exclusive_loss_values if exclusive else loss_values

    def __call__(self, logits: Tensor, coverage: Tensor, weights: Tensor) -> Tensor:
        """The same value in all processes."""
        now = {name: weight for name, points in self._weights.items() if (weight := _weight_at(self.epoch, points))}
        values = self.compute(tuple(now), logits, coverage, weights)
        by_class = torch.stack([weight * value for weight, value in zip(now.values(), values, strict=True)])  # (losses, C)
        self._class_shares = self._class_shares.to(by_class.device)  # copied once: each copy from the host would wait for the GPU
        return (by_class.sum(0) * self._class_shares).sum()


def build_loss(weights: Mapping[str, LossWeight], class_weights: Sequence[float], exclusive: bool = False) -> Criterion:
    """The weighted sum of the named losses. A schedule of weights is linear between its epochs and constant outside.

    exclusive: classes exclude each other.

    Raises `UserError` that lists unknown losses, epochs in which every weight is 0, and class weights that are all 0.
    """
    known = EXCLUSIVE_LOSSES if exclusive else LOSSES
    problems = [_unknown(name, list(known)) for name in weights if name not in known]
    problems += [_no_loss(epoch) for epoch in _corners(weights) if not any(_weight_at(epoch, weight) for weight in weights.values())]
    if not any(class_weights):
        found, fix = "0 for all of them", "give the classes that should count a weight above 0"
        problems.append(Problem("train.class_weights", "params.yaml: train.class_weights", "a class with a weight above 0", found, fix))
    raise_if_any(problems, "the loss cannot be used")
    return Criterion(weights, class_weights, exclusive)


def _unknown(name: str, known: list[str]) -> Problem:
    return Problem("train.loss", f"params.yaml: train.loss.{name}", "the name of a loss", repr(name), nearest(name, known))


def _no_loss(epoch: float) -> Problem:
    place, expected = f"params.yaml: train.loss, epoch {epoch:g}", "at least one weight above 0"
    return Problem("train.loss_schedule", place, expected, "0 for all losses", "give one of them a weight there")


def _corners(weights: Mapping[str, LossWeight]) -> list[float]:
    """The first epoch and those that schedules name: if all weights are 0 in some epoch, they are 0 in one of these."""
    return sorted({1.0} | {max(1.0, float(epoch)) for points in weights.values() if isinstance(points, list) for epoch, _ in points})


def _weight_at(epoch: float, weight: LossWeight) -> float:
    if not isinstance(weight, list):
        return weight
    epochs, weights = zip(*weight, strict=True)
    return float(np.interp(epoch, epochs, weights))
