"""Weights of an ensemble's members by greedy selection with replacement.

Caruana, Niculescu-Mizil, Crew and Ksikes, 2004, "Ensemble selection from libraries of models" (doi:10.1145/1015330.1015432): begin with the
best member, and add again and again the one that helps most; how often each was added are the weights. It is done for all classes
together, or class by class, on the exact Dice of each weighting at full resolution.

A weighting costs a pass over all images, and the search is repeated without each group of people (`search`). So all these searches go on
side by side: each round computes what any of them asks for in one pass, and no weighting twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from handbone.deciding.search import DIGITS, Floats, Found, Ints, People, groups_of, search
from handbone.evaluation.bootstrap import cluster_mean

Weighting = tuple[int, ...]  # of M members
Measure = Callable[[Sequence[Weighting]], Floats]  # V weightings -> (V, N, C) Dice of N images and C classes
Walk = Generator[list[Weighting], list[float], Weighting]  # asks for the scores of weightings, and returns the best one

ROUNDS = 8  # members that are added up at most
STANDARD_ERRORS = 2  # by which a class's own weighting is better than the given one where it is taken


def select(measure: Measure, given: Weighting, people: Sequence[str], per_class: bool) -> tuple[Found, list[Weighting]]:
    """Search for weights that are better than `given`, for each class alone or one weighting for all of them.

    people: the person of each image. Prints how long a weighting takes, and how many can follow.
    -> what was found, and the weightings that its candidates are; candidate 0 is `given`.
    """
    names, first = np.asarray(people), reduced(given)
    started, table = time.monotonic(), {first: measure([first])[0]}
    more = f"{len(first) + 1} now, then up to {ROUNDS - 1} rounds of {len(first)} or more"
    print(f"selection among {len(first)} members: {time.monotonic() - started:.1f} s per weighting; {more}", flush=True)
    _compute_walks(table, measure, names, per_class)
    weightings = list(table)
    scores = np.stack(list(table.values()), -1)  # (N, C, K)

    def choose(some: Floats, persons: People) -> Ints:
        known = {weighting: some[..., number] for number, weighting in enumerate(weightings)}
        found = [weightings.index(_best_known(known, first, column)) for column in _columns(some, per_class)]
        if not per_class:
            return np.full(some.shape[1], found[0], np.int64)
        return _where_beyond_doubt(some, persons, np.array(found, np.int64))

    return search([scores] * (groups_of(names).max() + 2), people, choose), weightings


def reduced(weights: Sequence[int]) -> Weighting:
    """The smallest whole numbers with the same ratios, whose masks are the same; (0, 2, 4) -> (0, 1, 2)."""
    divisor = math.gcd(*weights)
    return tuple(weight // divisor for weight in weights)


def greedy(members: int) -> Walk:
    """The search: yields weightings, is sent their scores (higher is better), and returns the best one that it saw.

    Of equally good ones it takes the plain mean, and otherwise the member that comes first.
    """
    alone = [tuple(int(one == other) for other in range(members)) for one in range(members)]
    equal = (1,) * members
    *scores, of_equal = yield [*alone, equal]
    counts, score = _best(alone, scores)
    for _ in range(ROUNDS - 1):
        larger = [tuple(count + more for count, more in zip(counts, one, strict=True)) for one in alone]
        step, higher = _best(larger, (yield [reduced(one) for one in larger]))
        if higher < score:
            break
        counts, score = step, higher
    return equal if of_equal >= score else reduced(counts)


def _best(weightings: Sequence[Weighting], scores: Sequence[float]) -> tuple[Weighting, float]:
    at = int(np.argmax(scores))
    return weightings[at], scores[at]


def _columns(scores: Floats, per_class: bool) -> list[slice]:
    """The classes of (n, C, ...) scores that one weighting is for."""
    count = scores.shape[1]
    return [slice(index, index + 1) for index in range(count)] if per_class else [slice(count)]


def _means(asked: Sequence[Weighting], known: Mapping[Weighting, Floats], column: slice) -> list[float]:
    """The mean of some classes of the (n, C) scores of each weighting."""
    return [round(float(np.ascontiguousarray(known[one][:, column]).mean()), DIGITS) for one in asked]


def _best_known(known: Mapping[Weighting, Floats], given: Weighting, column: slice) -> Weighting:
    """The result of a search whose scores are all known; the given weighting, if that is as good."""
    walk = greedy(len(given))
    asked = next(walk)
    try:
        while True:
            asked = walk.send(_means(asked, known, column))
    except StopIteration as ended:
        found: Weighting = ended.value
    before, after = _means([given, found], known, column)
    return found if after > before else given


@dataclass
class _Search:
    """A search on some images (N,) and classes; asked: the weightings whose scores it waits for."""

    rows: NDArray[np.bool_]
    column: slice
    walk: Walk
    asked: list[Weighting]

    def advance(self, known: Mapping[Weighting, Floats]) -> bool:
        """Send the scores that it waits for; False if it has ended."""
        try:
            self.asked = self.walk.send(_means(self.asked, {one: known[one][self.rows] for one in self.asked}, self.column))
        except StopIteration:
            return False
        return True


def _compute_walks(table: dict[Weighting, Floats], measure: Measure, people: People, per_class: bool) -> None:
    """Add to the table the scores that the searches on all people, and without each group of people, are going to ask for."""
    groups, members = groups_of(people), len(next(iter(table)))
    subsets = [groups >= 0, *(groups != group for group in range(groups.max() + 1))]
    searches = []
    for rows, column in product(subsets, _columns(next(iter(table.values())), per_class)):
        walk = greedy(members)
        searches.append(_Search(rows, column, walk, next(walk)))
    while searches:
        wanted = dict.fromkeys(weighting for one in searches for weighting in one.asked if weighting not in table)
        if wanted:
            table |= zip(wanted, measure(list(wanted)), strict=True)
        searches = [one for one in searches if one.advance(table)]


def _where_beyond_doubt(scores: Floats, people: People, found: Ints) -> Ints:
    """(n, C, K) scores and (C,) candidates -> the candidates, with 0 where one is better than candidate 0 by too little."""
    gains = np.take_along_axis(scores, found[None, :, None], 2)[..., 0] - scores[..., 0]
    mean, error = cluster_mean(gains, people)
    return np.where(mean > STANDARD_ERRORS * error, found, 0)
