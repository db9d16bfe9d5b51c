"""Losses by name and weight: for soft targets, absent classes, weighted samples and several processes.

Each takes the `Maps` of a batch and gives (C,), a value for each class, made of sums over the samples of all processes. So it does not
matter how the samples are dealt out, and one of weight 0 could as well be left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from handbone.training.distributed import weighted_mean, weighted_sum
from handbone.utils.errors import Problem, nearest, raise_if_any

Weight = float | list[list[float]]  # the same in all epochs, or rising [epoch, weight] pairs

FIXED = 1 << 24  # units of a pixel: float32 has no finer ones at 1
TVERSKY_ALPHA, TVERSKY_BETA = 0.3, 0.7  # of false positives, of false negatives


class Maps:
    """A batch and what several losses need of it, each computed once.

    logits (N, C, H, W), coverage (N, C, H, W) in 0..1, weights (N,) of the samples, 0 for padding; all float32.
    """

    def __init__(self, logits: Tensor, coverage: Tensor, weights: Tensor) -> None:
        self.logits, self.coverage, self.weights = logits, coverage, weights

    @cached_property
    def probs(self) -> Tensor:
        """(N, C, H, W) in 0..1."""
        return self.logits.sigmoid()

    @cached_property
    def entropies(self) -> Tensor:
        """(N, C, H, W) binary cross entropy of each pixel."""
        return functional.binary_cross_entropy_with_logits(self.logits, self.coverage, reduction="none")

    @cached_property
    def shared(self) -> Tensor:
        """(C,) sum of p·y, in pixels."""
        return self.total(self.probs * self.coverage)

    @cached_property
    def squares(self) -> Tensor:
        """(C,) sum of p² + y², in pixels."""
        planes = self.probs.square().sum((2, 3)) + self.coverage.square().sum((2, 3))
        return weighted_sum(planes, self.weights)

    def total(self, values: Tensor) -> Tensor:
        """(N, C, H, W) -> (C,) weighted sum over pixels and samples."""
        return weighted_sum(values.sum((2, 3)), self.weights)

    def mean(self, values: Tensor) -> Tensor:
        """(N, C, H, W) -> (C,) weighted mean over pixels and samples."""
        pixels = math.prod(values.shape[2:])
        return weighted_mean(values.sum((2, 3)) / pixels, self.weights)  # not .mean((2, 3)), whose gradient is written out for each pixel


def bce(maps: Maps) -> Tensor:
    """Binary cross entropy; its optimum is p = y."""
    return maps.mean(maps.entropies)


def focal(maps: Maps) -> Tensor:
    """(y - p)² · bce: the focal loss with gamma = 2 (Lin et al., 2017), for soft targets as in the quality focal loss (Li et al., 2020).

    For y in {0, 1} it is the published (1 - p_t)² · bce without the class balance alpha. For a soft target it is least at p = y, where
    the published one is not.
    """
    return maps.mean((maps.probs - maps.coverage).square() * maps.entropies)


def dice(maps: Maps) -> Tensor:
    """1 - 2·sum(p·y) / (sum(p²) + sum(y²)) over the batch (Milletari et al., V-Net, 2016).

    The squares matter: with plain sums the optimum for a soft target is not p = y but p in {0, 1}.
    One pixel is added to both sides of the fraction, so that a class absent from the batch costs only what is predicted of it.
    """
    return 1 - (2 * maps.shared + 1) / (maps.squares + 1)


def jaccard(maps: Maps) -> Tensor:
    """1 - sum(p·y) / (sum(p²) + sum(y²) - sum(p·y)), the Tanimoto form of the Jaccard index; squares and a pixel as in `dice`."""
    return 1 - (maps.shared + 1) / (maps.squares - maps.shared + 1)


def tversky(maps: Maps) -> Tensor:
    """1 - sum(p·y) / (sum(p·y) + alpha·fp + beta·fn), fp = sum(max(p - y, 0)²), fn = sum(max(y - p, 0)²) (after Salehi et al., 2017).

    Where p and y are 0 or 1 it is the published index, whose fp = sum(p·(1 - y)) and fn = sum((1 - p)·y) push soft targets to p in {0, 1}.
    Here both are 0 at p = y alone, which is the optimum. As p² + y² = 2·p·y + (p - y)², it is `dice` with alpha = beta = 1/2 and `jaccard`
    with 1, but for the pixel that is added to both sides here as well.
    """
    beyond = maps.probs - maps.coverage
    wrong = maps.total(torch.where(beyond > 0, TVERSKY_ALPHA, TVERSKY_BETA) * beyond.square())
    return 1 - (maps.shared + 1) / (maps.shared + wrong + 1)


def lovasz(maps: Maps) -> Tensor:
    """Lovász extension of the Jaccard loss at the errors |y - p| of each image, then the mean (Berman et al., 2018, with a sigmoid).

    A soft pixel counts as its two parts, y inside and 1 - y outside, that have the same error: once it is wrong, the intersection loses y
    and the union gains 1 - y. For y in {0, 1} that is the published loss. All errors are 0 at p = y, which is the optimum. The hinge
    of the same paper knows only two labels. Of a class absent from an image only the largest p counts.
    """
    coverage = maps.coverage.flatten(2)
    errors, order = (maps.probs.flatten(2) - coverage).abs().sort(descending=True)
    return weighted_mean((errors * _jaccard_steps(coverage.gather(2, order))).sum(2), maps.weights)


def boundary(maps: Maps) -> Tensor:
    """Mean of p times the signed distance to the outline of coverage >= 0.5 (Kervadec et al., 2019), -1..1.

    The distance is negative inside; its unit is the image's diagonal; it is 1 everywhere where a class is absent. The loss is linear in p:
    its optimum is p = 1 inside and 0 outside, not p = y, and it hardly sees a small class. It is meant to join others, by a schedule.
    """
    distances = [_signed_distance(plane) for plane in (maps.coverage >= 0.5).flatten(0, 1).cpu().numpy()]
    stacked = torch.from_numpy(np.stack(distances)).to(maps.probs)
    return maps.mean(maps.probs * stacked.view_as(maps.probs))


def _jaccard_steps(coverage: Tensor) -> Tensor:
    """(..., P) coverage, the worst pixel first -> (..., P) by how much the Jaccard loss grows when one pixel more is wrong.

    Pixel k adds (y + (1 - y)·J) / U: J is the index before it, 1 at first, and U the union with it. That is the difference of two indices
    without the cancellation, which in float32 would swallow the steps of a large image.
    """
    parts = (coverage * FIXED).round().long()  # whole numbers add up exactly, and on a GPU the same way each time, as floats need not
    lost = parts.cumsum(-1)
    inside = lost[..., -1:]
    union = inside + (FIXED - parts).cumsum(-1)
    before = functional.pad(((inside - lost) / union)[..., :-1], (1, 0), value=1.0)
    return (coverage + (1 - coverage) * before) / (union / FIXED)


def _signed_distance(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(H, W) -> (H, W) distance to the outline, which lies half a pixel before the nearest other pixel; in diagonals, clipped to -1..1."""

    def depth(mask: NDArray[np.bool_]) -> NDArray[np.float32]:  # endless in a mask that is all True, hence the clipping
        return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), dtype=np.float32)

    signed = np.where(inside, 0.5 - depth(inside), depth(~inside) - 0.5)
    return np.clip(signed / math.hypot(*inside.shape), -1, 1).astype(np.float32)


LOSSES: dict[str, Callable[[Maps], Tensor]] = {
    "bce": bce,
    "focal": focal,
    "dice": dice,
    "jaccard": jaccard,
    "tversky": tversky,
    "lovasz": lovasz,
    "boundary": boundary,
}


class Criterion:
    """(N, C, H, W) logits and coverage, (N,) weights of the samples -> the weighted sum of losses in the epoch that `epoch` says.

    class_weights: C numbers, relative; each loss is the mean of its classes weighted by them. A loss of weight 0 is not computed.
    """

    def __init__(self, weights: Mapping[str, Weight], class_weights: Sequence[float]) -> None:
        self.epoch = 1  # counted from 1; whoever trains sets it
        self._weights = dict(weights)
        self._shares = torch.tensor(class_weights, dtype=torch.float32) / sum(class_weights)

    def __call__(self, logits: Tensor, coverage: Tensor, weights: Tensor) -> Tensor:
        """A scalar, the same on all processes."""
        maps = Maps(logits, coverage, weights)
        now = {name: _weight_in(self.epoch, weight) for name, weight in self._weights.items()}
        by_class = torch.stack([weight * LOSSES[name](maps) for name, weight in now.items() if weight])  # (losses, C)
        return (by_class.sum(0) * self._shares.to(by_class)).sum()


def combined(weights: Mapping[str, Weight], class_weights: Sequence[float]) -> Criterion:
    """The weighted sum of the named losses, with weights that may follow a schedule, linear between its epochs and constant outside.

    A `UserError` lists names that are no loss, epochs in which nothing has a weight, and class weights that are all 0.
    """
    problems = [_unknown(name) for name in weights if name not in LOSSES]
    problems += [_idle(epoch) for epoch in _epochs(weights) if not any(_weight_in(epoch, weight) for weight in weights.values())]
    if not any(class_weights):
        what = ("a class that weighs more than 0", "0 for all of them", "leave out those that should count")
        problems.append(Problem("params.yaml: train.class_weights", *what))
    raise_if_any(problems, "the loss cannot be used")
    return Criterion(weights, class_weights)


def _unknown(name: str) -> Problem:
    return Problem("params.yaml: train.loss", "a known loss", repr(name), nearest(name, list(LOSSES)))


def _idle(epoch: float) -> Problem:
    return Problem("params.yaml: train.loss", f"a weight above 0 in epoch {epoch:g}", "0 for all losses", "give one of them a weight there")


def _epochs(weights: Mapping[str, Weight]) -> list[float]:
    """The first epoch and those that schedules name: weights that are all 0 anywhere are so in one of these."""
    return sorted({1.0} | {max(1.0, float(epoch)) for points in weights.values() if isinstance(points, list) for epoch, _ in points})


def _weight_in(epoch: float, weight: Weight) -> float:
    if not isinstance(weight, list):
        return weight
    epochs, weights = zip(*weight, strict=True)
    return float(np.interp(epoch, epochs, weights))
