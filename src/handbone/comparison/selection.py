"""Which images and classes of a comparison are worth a look: those that differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handbone.evaluation.comparison import Comparison

IMAGES, CLASSES, PER_CLASS = 4, 4, 4  # whole images; classes, and crops of each


@dataclass(frozen=True)
class Choice:
    """An image, by its place in the comparison, and a class, or all of them (None)."""

    image: int
    label: int | None


def images_that_differ(comparison: Comparison) -> list[Choice]:
    """The images whose mean over the classes differs most, largest difference first; none where nothing differs."""
    return [Choice(int(image), None) for image in _largest(comparison.differences.mean(1), IMAGES)]


def classes_that_differ(comparison: Comparison) -> list[list[Choice]]:
    """The classes whose mean over the images differs most, each with the images in which it does."""
    differences = comparison.differences
    labels = _largest(differences.mean(0), CLASSES)
    return [[Choice(int(image), int(label)) for image in _largest(differences[:, label], PER_CLASS)] for label in labels]


def _largest(differences: NDArray[np.float64], limit: int) -> Sequence[int]:
    order = np.argsort(-np.abs(differences), kind="stable")
    return [int(at) for at in order[:limit] if differences[at] != 0]
