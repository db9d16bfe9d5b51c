"""Folds of people, by the rule of scikit-learn's GroupKFold. Folds never split a person.

The rule is written out here so that every version of every library assigns the same folds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from handbone.utils.errors import Problem, UserError


def assign_folds(images: Mapping[str, int], n_folds: int, seed: int) -> dict[str, int]:
    """Number of images of each person -> fold of each person, 0 to `n_folds` - 1.

    People with most images come first, and each goes to the fold with fewest images so far. A hash of seed and name breaks ties between
    people, the lowest number breaks ties between folds; so no random generator and no order of the input matters.
    Raises `UserError` if there are fewer people than folds.
    """
    if len(images) < n_folds:
        expected, fix = f"at most {len(images)}, the number of people", "lower it, or add people"
        raise UserError(Problem("folds.too_many", "params.yaml: split.n_folds", expected, str(n_folds), fix))
    totals = [0] * n_folds
    folds = {}
    for person in sorted(images, key=lambda name: (-images[name], _tie_breaker(seed, name))):
        folds[person] = totals.index(min(totals))
        totals[folds[person]] += images[person]
    return folds


def _tie_breaker(seed: int, person: str) -> str:
    return hashlib.sha256(f"{seed}/{person}".encode()).hexdigest()
