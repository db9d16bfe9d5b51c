"""The best of several candidates per class, and an honest estimate of what the search gains on people it has not seen.

The best of many candidates is better than the default on the people that it was found on, even if all candidates are equally good. So the
gain is estimated by a nested cross-validation over people (Varma and Simon, 2006, doi:10.1186/1471-2105-7-91): the whole search, with all
that it accepts or refuses, runs without a group of people, and its choice is scored on that group; so for each group.
As any two of these searches share most of their people, they are alike, and their gains vary more together than those of single people
do: the intervals are wider by the correction of Nadeau and Bengio (2003, "Inference for the generalization error").
The search is accepted only if the 99 % interval of the gain excludes 0: on pure noise it is, then, once in 200 cases.

Scores are arrays (N images, C classes, K candidates) of Dice, as the competition's formula gives it. Candidate 0 is the default, and
simple candidates come before complicated ones: of equally good ones the first is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handbone.evaluation.bootstrap import Intervals, cluster_mean, paired_intervals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
People = NDArray[np.str_]
Choose = Callable[[Floats, People], Ints]  # scores (n, C, K) and the person of each image -> (C,) candidates

GROUPS = 10  # of people, in the estimate and in each search inside of it
DIGITS = 12  # of a mean that count: sums of equal scores in another order are equal
LEVEL = 0.99  # of the intervals; higher than for a comparison, as several searches may follow each other
STANDARD_ERRORS = 1  # by which a class's gain on other people is above 0 where its candidate is taken


@dataclass(frozen=True)
class Found:
    """What a search found.

    best: (C,) the candidates that the search takes on all people; by_group: (G, C) those that it takes without each group of people.
    in_sample: (C,) mean gain of `best` over the default on the people it was found on, in units of Dice: too high.
    gains: (N, C) gain of each image, by the candidates that were taken without its person.
    overall: interval of the mean of `gains` over classes, one column; per_class: one column per class, which all hold together.
    """

    best: Ints
    by_group: Ints
    in_sample: Floats
    gains: Floats
    overall: Intervals
    per_class: Intervals

    @property
    def accepted(self) -> bool:
        """Whether the gain is more than noise."""
        return bool(self.overall.low[0] > 0)

    @property
    def chosen(self) -> Ints:
        """-> (C,) the candidates to use: `best` if accepted, else the defaults."""
        return self.best * self.accepted

    @property
    def chosen_by_group(self) -> Ints:
        """-> (G, C) the same without each group of people: where an estimate of the next search begins."""
        return self.by_group * self.accepted


def groups_of(people: Sequence[str] | People) -> Ints:
    """The person of each image -> (N,) numbers of groups, at most `GROUPS`; all images of a person are in one.

    Depends on the names alone, not on the order of images.
    """
    names, person = np.unique(np.asarray(people), return_inverse=True)
    numbers = np.random.default_rng(0).permutation(len(names)) % GROUPS
    return np.asarray(numbers[person], np.int64)


def search(scores: Sequence[Floats], people: Sequence[str], choose: Choose | None = None) -> Found:
    """Find the best candidates, and estimate what they gain on other people.

    scores: G + 1 arrays (N, C, K) of Dice: one for the search on all people, and one for each group of `groups_of`, which differs where
    what the candidates build on was itself found without that group. They may be the same array.
    people: the person of each image; two or more. choose: the search, which never sees the people it is scored on; None: `accepted_best`.
    """
    choose, names = choose or accepted_best, np.asarray(people)
    best = choose(scores[0], names)
    by_group, gains = nested(scores[1:], names, choose)
    wider = _correction(len(by_group))
    overall, per_class = (paired_intervals(some, people, level=LEVEL).widened(wider) for some in (gains.mean(1, keepdims=True), gains))
    return Found(best, by_group, _gains(scores[0], best).mean(0), gains, overall, per_class)


def nested(scores: Sequence[Floats], people: People, choose: Choose) -> tuple[Ints, Floats]:
    """For each group of people: search without it, score on it -> (G, C) candidates; (N, C) gains over candidate 0.

    scores: an array (N, C, K) for each group.
    """
    groups = groups_of(people)
    candidates, gains = [], np.zeros(scores[0].shape[:2])
    for group, array in enumerate(scores):
        held_out = groups == group
        candidates.append(choose(array[~held_out], people[~held_out]))
        gains[held_out] = _gains(array[held_out], candidates[-1])
    return np.stack(candidates), gains


def accepted_best(scores: Floats, people: People) -> Ints:
    """(n, C, K) -> (C,) the best candidate of each class, or 0 where its gain does not hold on people that it was not found on.

    It holds where its nested mean is more than a standard error above 0 (as in the one-standard-error rule; Breiman et al., 1984).
    """
    n_groups = groups_of(people).max() + 1
    if n_groups < 2:
        return np.zeros(scores.shape[1], np.int64)
    _, gains = nested([scores] * n_groups, people, lambda some, _: best(some))
    mean, error = cluster_mean(gains, people)
    least = STANDARD_ERRORS * _correction(n_groups) * error
    return np.where(np.round(mean - least, DIGITS) > 0, best(scores), 0)


def _correction(n_groups: int) -> float:
    """By how much the standard error of a mean over groups of a cross-validation is larger than that of as many independent people."""
    return math.sqrt(1 + n_groups / (n_groups - 1))


def best(scores: Floats) -> Ints:
    """(n, C, K) -> (C,) the first candidate with the highest mean."""
    return np.asarray(np.round((scores - scores[..., :1]).mean(0), DIGITS).argmax(1), np.int64)


def _gains(scores: Floats, candidates: Ints) -> Floats:
    """(n, C, K) and (C,) -> (n, C) gain of each class's candidate over candidate 0."""
    taken = np.take_along_axis(scores, candidates[None, :, None], 2)[..., 0]
    return np.asarray(taken - scores[..., 0], np.float64)
