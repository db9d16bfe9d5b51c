"""Every finding about the labels of a set of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from handbone.doctor.labels.anatomy import MIN_CLASSES, MIN_IMAGES, Anatomy, learn
from handbone.doctor.labels.diagnosis import diagnose
from handbone.doctor.labels.drawing import Bools, Drawing, measure
from handbone.doctor.labels.finding import Finding

ROUNDS = 2  # the second without the images in which the first found something, so that many faults do not count as usual


@dataclass(frozen=True)
class Examined:
    """findings: with the data set's numbers of classes. anatomy: None if too few images show enough classes. classes: those it has."""

    findings: Sequence[Finding]
    anatomy: Anatomy | None
    classes: Sequence[int]


def examine_labels(drawings: Sequence[Drawing], allow_missing: bool) -> Examined:
    """Learn the anatomy from the images themselves, and compare each with it. allow_missing: an image need not show every class."""
    classes, kept = _comparable(drawings)
    if len(kept) < MIN_IMAGES:
        return Examined([], None, [])
    measures = measure(kept)
    trusted = np.ones(len(kept), bool)
    for _ in range(ROUNDS):
        anatomy = learn(kept, measures, trusted)
        found = diagnose(anatomy, allow_missing)
        doubted = {finding.key for finding in found}
        before, trusted = trusted, _trusted(kept, doubted)
        if np.array_equal(before, trusted):
            break
    return Examined([replace(finding, classes=[classes[c] for c in finding.classes]) for finding in found], anatomy, classes)


def _comparable(drawings: Sequence[Drawing]) -> tuple[list[int], list[Drawing]]:
    """The classes that enough images show, and the images that show enough of these, with these alone."""
    there = _shown(drawings)
    classes = np.flatnonzero(there.sum(0) >= MIN_IMAGES).tolist()
    images = np.flatnonzero(there[:, classes].sum(1) >= MIN_CLASSES).tolist()
    kept = [replace(drawings[number], polygons=[drawings[number].polygons[c] for c in classes]) for number in images]
    return classes, kept


def _trusted(drawings: Sequence[Drawing], doubted: set[str]) -> Bools:
    """All images except the doubted ones, as long as each class keeps enough of them; else all."""
    trusted = np.array([drawing.key not in doubted for drawing in drawings])
    return trusted if (_shown(drawings)[trusted].sum(0) >= MIN_IMAGES).all() else np.ones(len(drawings), bool)


def _shown(drawings: Sequence[Drawing]) -> Bools:
    """(N, C) whether an image has a polygon of a class."""
    classes = len(drawings[0].polygons) if drawings else 0
    return np.array([[bool(polygons) for polygons in drawing.polygons] for drawing in drawings], bool).reshape(len(drawings), classes)
