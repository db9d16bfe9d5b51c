"""Images laid over each other: the shift, turn, scale and, if it fits better, the mirroring that bring centres of classes together.

Generalised Procrustes analysis (Gower, 1975), with medians and Cauchy weights in the place of means and squares, so that wrong labels
neither move their image nor the common shape.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from handbone.doctor.labels.drawing import Bools, Complexes, Floats

ROUNDS = 6  # of aligning all images and taking the median
STEPS = 12  # of reweighting
CAUCHY = 2.4  # residuals of as many standard deviations have half of the weight
TINY = 1e-12
MIN_SPREAD = 0.003  # of the common frame, which has size 1: 1 pixel of 2048 in a hand


@dataclass(frozen=True)
class Pose:
    """How N images are moved into the common frame: turn * z + shift, of the conjugate of z where mirrored. cost: (N,) mean residual."""

    turn: Complexes
    shift: Complexes
    mirrored: Bools
    cost: Floats

    def apply(self, points: Complexes) -> Complexes:
        """(N, ...) points in pixels -> in the common frame."""
        axes = (slice(None), *[None] * (points.ndim - 1))
        upright = np.where(self.mirrored[axes], points.conj(), points)
        placed: Complexes = self.turn[axes] * upright + self.shift[axes]
        return placed

    def undo(self, points: Complexes) -> Complexes:
        """(N, ...) points in the common frame -> in pixels."""
        axes = (slice(None), *[None] * (points.ndim - 1))
        upright = (points - self.shift[axes]) / self.turn[axes]
        placed: Complexes = np.where(self.mirrored[axes], upright.conj(), upright)
        return placed

    def of(self, number: int) -> Pose:
        """The pose of one image, as that of a set of one."""
        at = slice(number, number + 1)
        return Pose(self.turn[at], self.shift[at], self.mirrored[at], self.cost[at])


@dataclass(frozen=True)
class CommonShape:
    """centres: (C,) in the common frame, NaN for a class that no image shows; spread: (C,) standard deviation of a coordinate."""

    centres: Complexes
    spread: Floats


def common_shape(centres: Complexes) -> CommonShape:
    """(N, C) centres of classes in pixels, NaN where absent -> the shape that most images share, with its middle at 0 and size 1."""
    first = centres[np.argmax(np.isfinite(centres).sum(1))]
    shape = _normalised(CommonShape(first, np.full(centres.shape[1], 0.1)))
    for _ in range(ROUNDS):
        placed = align(centres, shape).apply(centres)
        middle = median(placed)
        shape = _normalised(CommonShape(middle, _spread(placed - middle)))
    return shape


def align(centres: Complexes, shape: CommonShape) -> Pose:
    """The pose of each image, mirrored where that fits better."""
    straight, mirrored = fit(centres, shape), fit(centres.conj(), shape)
    better = mirrored.cost < straight.cost
    return Pose(
        np.where(better, mirrored.turn, straight.turn),
        np.where(better, mirrored.shift, straight.shift),
        better,
        np.minimum(mirrored.cost, straight.cost),
    )


def fit(centres: Complexes, shape: CommonShape) -> Pose:
    """The pose of each image without mirroring. Weights: those of the Cauchy distribution, reweighted in STEPS rounds."""
    present = np.isfinite(centres) & np.isfinite(shape.centres)
    points, target = np.where(present, centres, 0), np.where(present, shape.centres, 0)
    weights = present / shape.spread**2
    for _ in range(STEPS):
        total = np.maximum(weights.sum(1, keepdims=True), TINY)
        from_middle = points - (weights * points).sum(1, keepdims=True) / total
        to_middle = target - (weights * target).sum(1, keepdims=True) / total
        size = np.maximum((weights * abs(from_middle) ** 2).sum(1), TINY)
        turn = (weights * from_middle.conj() * to_middle).sum(1) / size
        turn = np.where(abs(turn) < TINY, TINY, turn)  # of an image with all classes at one place
        shift = ((weights * (target - turn[:, None] * points)).sum(1, keepdims=True) / total)[:, 0]
        squares = abs(turn[:, None] * points + shift[:, None] - target) ** 2 / (CAUCHY * shape.spread) ** 2
        weights = present / shape.spread**2 / (1 + squares)
    cost = (present * np.log1p(squares)).sum(1) / np.maximum(present.sum(1), 1)
    return Pose(turn, shift, np.zeros(len(points), bool), cost)


def median(points: Complexes) -> Complexes:
    """(N, C) points -> (C,) medians of both coordinates, without NaN."""
    with np.errstate(all="ignore"):
        return np.array([_median(of_class) for of_class in points.T], np.complex128)


def _median(points: Complexes) -> complex:
    there = points[np.isfinite(points)]
    return complex(np.median(there.real), np.median(there.imag)) if len(there) else complex(np.nan, np.nan)


def _spread(residuals: Complexes) -> Floats:
    """The standard deviation of each class's coordinates, from the median distance: 1.1774 of them in the plane."""
    distances = [abs(of_class[np.isfinite(of_class)]) for of_class in residuals.T]
    spread = np.array([np.median(of_class) / 1.1774 if len(of_class) else np.inf for of_class in distances])
    return np.asarray(np.maximum(spread, MIN_SPREAD))


def _normalised(shape: CommonShape) -> CommonShape:
    """Without this, each round would shrink the shape."""
    known = shape.centres[np.isfinite(shape.centres)]
    middle, size = known.mean(), max(TINY, float(np.sqrt((abs(known - known.mean()) ** 2).mean())))
    return replace(shape, centres=(shape.centres - middle) / size)
