"""Which label each polygon of an image should have if none of its labels is believed: for images whose labels are mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from handbone.doctor.labels.alignment import CommonShape, align, fit
from handbone.doctor.labels.drawing import Complexes, Floats

TURNS = 12  # directions from which the search starts, of the image and of its mirror image
STEPS = 8
CAP = 9.0  # of a squared distance: one polygon that fits nowhere does not decide
LOOSE = 4.0  # spreads of a centre that count as one, until the labels are known
AREA = 0.5  # difference of two areas' logarithms that counts as much


@dataclass(frozen=True)
class Relabelling:
    """labels: (C,) the class that the polygon of class c should have, c itself where absent. gain: by which the cost falls, 0..CAP."""

    labels: NDArray[np.int64]
    gain: float


def relabel(centres: Complexes, log_areas: Floats, shape: CommonShape, class_areas: Floats) -> Relabelling:
    """(C,) centres in pixels and areas of one image -> the labels with which it fits the common shape best.

    Iterated closest points (Besl and McKay, 1992) with one-to-one assignments (Kuhn, 1955).
    """
    there = np.flatnonzero(np.isfinite(centres))
    placed = align(centres[None], shape).apply(centres[None])[0, there]
    now = _distances(placed, shape)[np.arange(len(there)), there].mean()
    sizes = log_areas[there, None] - class_areas
    areas = ((sizes - np.median(sizes[np.arange(len(there)), there])) / AREA) ** 2
    searched = [
        _search(side, turn, shape, areas)
        for side in (centres[there], centres[there].conj())
        for turn in np.exp(2j * np.pi * np.arange(TURNS) / TURNS)
    ]
    found, best = min(searched, key=lambda result: result[1])
    labels = np.arange(len(centres))
    labels[there] = found
    return Relabelling(labels, float(now - best))


def _search(points: Complexes, turn: complex, shape: CommonShape, areas: Floats) -> tuple[NDArray[np.int64], float]:
    """Assign (n,) points, turned, to classes and fit them, in turns -> the classes, and the mean distance. areas: (n, C) their cost."""
    from_middle, target = points - points.mean(), shape.centres
    scale = np.sqrt((abs(target - target.mean()) ** 2).mean() / (abs(from_middle) ** 2).mean())
    placed, labels = turn * scale * from_middle + target.mean(), np.zeros(len(points), np.int64)
    for _ in range(STEPS):
        _, assigned = linear_sum_assignment(_distances(placed, shape) + areas)
        if np.array_equal(assigned, labels):
            break
        labels = np.asarray(assigned, np.int64)
        of_class = np.full((1, len(target)), complex(np.nan, np.nan))
        of_class[0, labels] = points
        placed = fit(of_class, shape).apply(of_class)[0, labels]
    return labels, float(_distances(placed, shape)[np.arange(len(labels)), labels].mean())


def _distances(placed: Complexes, shape: CommonShape) -> Floats:
    """(n,) points -> (n, C) squared distances from the classes in loose spreads, capped."""
    return np.minimum((abs(placed[:, None] - shape.centres) / (LOOSE * shape.spread)) ** 2, CAP)
