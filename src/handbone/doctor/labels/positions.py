"""Where a class is expected in an image, given where its other classes are: a Gaussian over the centres of all classes.

The shape model of Cootes et al. (Active shape models, 1995) with the full covariance: bent joints and wrists are correlations between
classes, so a class is expected where its bent neighbours say. Absent classes are left out of the condition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handbone.doctor.labels.drawing import Bools, Complexes, Floats

ROUNDS = 6  # of expectation and maximisation, where classes are absent
USUAL = 0.95  # share of images whose values are usual: a value's distance is measured in units of this quantile
CLIP = 1.5  # usual distances from the median beyond which a coordinate does not move the covariance
LEAST = 0.5  # Mahalanobis distance: smaller usual ones are those of images that are all equal
FLOOR = 1e-3  # of the common frame, which has size 1: less is rounding


@dataclass(frozen=True)
class Expectation:
    """centres: (C,) in the common frame; precisions: (C, 2, 2) inverse covariances of x and y there; NaN for unknown classes."""

    centres: Complexes
    precisions: Floats

    def distances(self, points: Complexes) -> Floats:
        """(..., C) points -> (..., C) Mahalanobis distances from the place of class c."""
        offsets = points - self.centres
        xy = np.stack([offsets.real, offsets.imag], -1)
        squares = np.einsum("...ci,cij,...cj->...c", xy, self.precisions, xy)
        return np.asarray(np.sqrt(np.maximum(squares, 0)))


class Positions:
    """The Gaussian over C centres. usual: (C,) Mahalanobis distance within which USUAL of the images have the class."""

    def __init__(self, placed: Complexes) -> None:
        """placed: (N, C) centres in the common frame, NaN where absent."""
        self.mean, self.covariance = _gaussian(_clipped(_coordinates(placed)))
        self.usual = np.maximum(usual(self._distances(placed)), LEAST)

    def _distances(self, placed: Complexes) -> Floats:
        """(N, C) distances of each image's classes from where its other classes let one expect them; NaN where absent."""
        known, distances = np.isfinite(placed), np.full(placed.shape, np.nan)
        for pattern, members in _patterns(known):
            of_pattern = self._expected(placed[members], pattern)
            for row, expectation in zip(members, of_pattern, strict=True):
                distances[row] = np.where(pattern, expectation.distances(placed[row]), np.nan)
        return distances

    def expected(self, placed: Complexes, known: Bools) -> Expectation:
        """The place of each class given the other classes that are known. placed, known: (C,)."""
        return self._expected(placed[None], known)[0]

    def _expected(self, placed: Complexes, known: Bools) -> list[Expectation]:
        """(n, C) images of the same known classes. A known class is left out of its own condition."""
        deviations = np.where(np.repeat(known, 2), _coordinates(placed) - self.mean, 0)
        given = np.flatnonzero(np.repeat(known, 2))
        inverse = np.zeros_like(self.covariance)
        inverse[np.ix_(given, given)] = np.linalg.inv(self.covariance[np.ix_(given, given)])
        solved = deviations @ inverse
        centres = np.empty(placed.shape, np.complex128)
        precisions = np.empty((placed.shape[1], 2, 2))
        for c in range(placed.shape[1]):
            at = slice(2 * c, 2 * c + 2)
            if known[c]:
                precisions[c] = inverse[at, at]
                offset = deviations[:, at] - solved[:, at] @ np.linalg.inv(inverse[at, at])
            else:
                offset = solved @ self.covariance[:, at]
                precisions[c] = np.linalg.inv(self.covariance[at, at] - self.covariance[at] @ inverse @ self.covariance[:, at])
            xy = self.mean[at] + offset
            centres[:, c] = xy[:, 0] + 1j * xy[:, 1]
        return [Expectation(of_image, precisions) for of_image in centres]


def usual(distances: Floats) -> Floats:
    """(N, C) distances, NaN where absent -> (C,) the quantile USUAL; inf for a class that no image shows.

    A quantile that up to one in twenty faults does not reach; and unlike a standard deviation or a median, it knows the tails: of bent
    wrists, if more images have them than that.
    """
    columns = [column[np.isfinite(column)] for column in distances.T]
    return np.array([np.quantile(column, USUAL) if len(column) else np.inf for column in columns])


def _coordinates(placed: Complexes) -> Floats:
    """(N, C) points -> (N, 2 C) x and y of each."""
    return np.stack([placed.real, placed.imag], -1).reshape(len(placed), -1)


def _clipped(values: Floats) -> Floats:
    middle = np.nanmedian(values, 0)
    limit = np.maximum(CLIP * np.nanquantile(abs(values - middle), USUAL, axis=0), FLOOR)
    return np.clip(values, middle - limit, middle + limit)


def _gaussian(values: Floats) -> tuple[Floats, Floats]:
    """(N, D) values with NaN -> mean and covariance by expectation maximisation, shrunk towards independent coordinates."""
    count, size = values.shape
    mean, covariance = np.nanmean(values, 0), np.diag(np.nanvar(values, 0) + FLOOR**2)
    missing = np.isnan(values)
    shrinkage = size / (size + count)
    for _ in range(ROUNDS if missing.any() else 1):
        filled, spread = np.where(missing, 0.0, values), np.zeros((size, size))
        for pattern, members in _patterns(~missing):
            given, lost = np.flatnonzero(pattern), np.flatnonzero(~pattern)
            weights = np.linalg.solve(covariance[np.ix_(given, given)], covariance[np.ix_(given, lost)])
            filled[np.ix_(members, lost)] = mean[lost] + (values[np.ix_(members, given)] - mean[given]) @ weights
            left = covariance[np.ix_(lost, lost)] - covariance[np.ix_(lost, given)] @ weights
            spread[np.ix_(lost, lost)] += len(members) * left
        mean = filled.mean(0)
        covariance = ((filled - mean).T @ (filled - mean) + spread) / count
        variances = np.diag(covariance) + FLOOR**2
        covariance = (1 - shrinkage) * covariance + shrinkage * np.diag(variances)
        covariance[np.diag_indices(size)] = variances
    return mean, covariance


def _patterns(known: Bools) -> list[tuple[Bools, NDArray[np.int64]]]:
    """(N, D) -> each different row, and the numbers of the images that have it."""
    patterns, numbers = np.unique(known, axis=0, return_inverse=True)
    return [(pattern, np.flatnonzero(numbers.ravel() == number)) for number, pattern in enumerate(patterns)]
