"""Folds of people, by the rule of scikit-learn's GroupKFold. Folds never split a person.

The rule is written out here so that every version of every library assigns the same folds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

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


def lacking_folds(drawn: Mapping[str, Collection[int]], n_folds: int) -> list[Problem]:
    """Folds in which each class is drawn -> a warning for each fold that cannot score a class, or whose training never sees it.

    A class that is drawn nowhere is a fault of the whole set, which the stage preprocess reports.
    """
    problems = []
    for name, folds in drawn.items():
        fix = f"draw {name} in images of more people, lower split.n_folds, or try another split.seed"
        if len(folds) == 1:
            place = f"fold {next(iter(folds))}"
            expected, found = f"training images that show {name}", "none, as no other fold has one"
            problems.append(Problem("folds.class_not_trained", place, expected, found, fix))
        if folds:
            problems += [
                Problem("folds.class_not_validated", f"fold {fold}", f"held-out images that show {name}", "none", fix)
                for fold in range(n_folds)
                if fold not in folds
            ]
    return problems


def _tie_breaker(seed: int, person: str) -> str:
    return hashlib.sha256(f"{seed}/{person}".encode()).hexdigest()
