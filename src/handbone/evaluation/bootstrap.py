"""Is a difference more than noise? Confidence intervals of paired differences, by a bootstrap over people.

People are drawn with replacement, each with all of their images: images of one person are alike, so drawing single images would promise too
narrow an interval (the cluster bootstrap; Field and Welsh, 2007, "Bootstrapping clustered data"). Both experiments are scored on the
same draw. As means are linear, that is a draw of the differences per image.

The interval is the symmetric bootstrap-t: the mean plus and minus a number of standard errors, which is read off the draws (Hall, 1988, "On
symmetric bootstrap confidence intervals"). With few people, percentiles of the draws would be too narrow.
For several columns that number is read off the largest statistic of each draw, so that all intervals hold together (the max-t method;
Romano and Wolf, 2005, doi:10.1198/016214504000000539): looking at 29 classes finds none by chance more often than looking at one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95
DRAWS = 10_000
BATCH = 500  # draws at a time, which bounds the memory for thousands of people
FEW = 10  # people: a column in which fewer differ is not judged, as many draws would miss them all


@dataclass(frozen=True)
class Intervals:
    """The mean difference of each column, and the ends of its interval; all (C,), in units of Dice."""

    mean: Floats
    low: Floats
    high: Floats

    @property
    def beyond_noise(self) -> NDArray[np.bool_]:
        """Whether each interval excludes 0."""
        return (self.low > 0) | (self.high < 0)

    def widened(self, factor: float) -> Intervals:
        """The same means with intervals that are `factor` times as wide, of what Dice can differ by at most."""
        return Intervals(self.mean, *(np.clip(self.mean + factor * (end - self.mean), -1, 1) for end in (self.low, self.high)))


def paired_intervals(differences: Floats, people: Sequence[str], seed: int = 0, level: float = LEVEL) -> Intervals:
    """Differences of paired scores (N images, C columns) -> the mean of each column and intervals that all hold together in 95 % of cases.

    people: the person of each image; two or more. level: the share of cases, if another. One column alone has an ordinary interval.
    An interval is -1 to 1, all that Dice can differ by, where there is too little to tell: two or three people, or a column in which only
    a few differ.
    """
    sums, images = _by_person(differences, people)
    if len(images) < 2:
        raise ValueError("one person alone does not tell how people vary")
    mean, residuals = _residuals(sums, images)
    error = np.sqrt((residuals**2).sum(0)) / images.sum()
    differing = (sums != 0).sum(0)  # (C,) people
    few = (differing > 0) & (differing < min(FEW, len(images)))
    statistics = np.concatenate(list(_statistics(residuals, images, np.random.default_rng(seed))))
    critical = np.quantile(np.where(few, 0, statistics).max(1), level, method="higher")
    half = np.multiply(error, critical, out=np.zeros_like(error), where=error > 0)  # 0 and not NaN, where infinity meets equal scores
    half[few] = np.inf
    return Intervals(mean, np.clip(mean - half, -1, 1), np.clip(mean + half, -1, 1))


def cluster_mean(values: Floats, people: Sequence[str] | NDArray[np.str_]) -> tuple[Floats, Floats]:
    """Values (N images, C columns) -> (C,) means and (C,) their standard errors, in which a person counts as one observation."""
    sums, images = _by_person(values, people)
    mean, residuals = _residuals(sums, images)
    return mean, np.sqrt((residuals**2).sum(0)) / images.sum()


def _by_person(values: Floats, people: Sequence[str] | NDArray[np.str_]) -> tuple[Floats, Floats]:
    """(N, C) -> (P, C) sums over each person's images, and (P,) how many images."""
    _, person = np.unique(np.asarray(people), return_inverse=True)
    return np.stack([np.bincount(person, column) for column in values.T], 1), np.bincount(person).astype(np.float64)


def _residuals(sums: Floats, images: Floats) -> tuple[Floats, Floats]:
    """-> (C,) mean over images; (P, C) what a person's sum differs from the mean's prediction."""
    mean = sums.sum(0) / images.sum()
    return mean, sums - images[:, None] * mean


def _statistics(residuals: Floats, images: Floats, rng: np.random.Generator) -> Iterator[Floats]:
    """Batches of draws of people -> (draws, C): the distance of the draw's mean from the observed one, in the draw's own standard errors.

    residuals: (P, C) sums over each person's images, minus what the observed mean predicts; images: (P,) how many.
    """
    people = len(images)
    squares = np.concatenate([residuals**2, residuals * images[:, None]], 1)
    for _ in range(DRAWS // BATCH):
        times = rng.multinomial(people, np.full(people, 1 / people), BATCH).astype(np.float64)  # how often each person is drawn
        total = (times @ images)[:, None]
        distance = times @ residuals / total
        square, product = np.split(times @ squares, 2, 1)
        variance = square - 2 * distance * product + distance**2 * (times @ images**2)[:, None]
        error = np.sqrt(np.maximum(variance, 0)) / total
        # a draw of equal people has no error: infinitely far, unless it is where the mean is
        yield np.divide(np.abs(distance), error, out=np.where(distance == 0, 0, np.inf), where=error > 0)
