"""Folds of people with equally many images and, if asked for, equally many images of each label. Folds never split a person.

The rule is written out here in whole numbers, so that every version of every library assigns the same folds. Without labels it is the rule
of scikit-learn's GroupKFold. With labels it does what its StratifiedGroupKFold does, which knows only one label per image.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Literal

from handbone.utils.errors import Problem, UserError

Counts = Mapping[str, int]
"""Images by person; a person without any may be absent."""
LACKING = {  # kind -> which images, and what helps
    "class": (
        "images that show {}",
        "name classes in split.stratify; if it is there, lower split.n_folds or draw {} in images of more people",
    ),
    "value": ("images with {}", "name the attribute in split.stratify; if it is there, lower split.n_folds or add people with {}"),
}


def assign_folds(images: Counts, n_folds: int, seed: int, labels: Mapping[str, Counts] = MappingProxyType({})) -> dict[str, int]:
    """Number of images of each person, of all and of each label -> fold of each person, 0 to `n_folds` - 1.

    People with most images come first, of these people those with the rarest label. Each goes to the fold where Pearson's chi-square
    statistic of images and labels per fold, against equal shares, grows least; without labels, to the fold with fewest images so far.
    A hash of seed and name breaks ties between people, the lowest number breaks ties between folds; so no random generator and no order of
    the input matters.
    Raises `UserError` if there are fewer people than folds.
    """
    if len(images) < n_folds:
        expected, fix = f"at most {len(images)}, the number of people", "lower it, or add people"
        fix = fix if len(images) > 1 else "put images of different people into different folders, as the folds need two people at least"
        raise UserError(Problem("folds.too_many", "params.yaml: split.n_folds", expected, str(n_folds), fix))
    counts = {"": images, **labels}  # label -> images by person, of which all images are the first
    totals = {label: sum(count.values()) for label, count in counts.items()}
    scale = math.lcm(*filter(None, totals.values()))  # makes the statistic's fractions whole numbers
    folds: dict[str, int] = {}
    fold_counts = {label: [0] * n_folds for label in counts}  # of the people who have a fold so far
    shown = {person: [label for label, count in counts.items() if count.get(person)] for person in images}
    rarest = {person: min((totals[label], label) for label in names) for person, names in shown.items()}
    for person in sorted(images, key=lambda name: (-images[name], rarest[name], _tie_breaker(seed, name))):
        adds = [(fold_counts[label], counts[label][person], scale // totals[label]) for label in shown[person]]
        # (row + added)² - row² = 2 row added + added², of which the second is the same for every fold
        growth = [sum(row[fold] * added * weight for row, added, weight in adds) for fold in range(n_folds)]
        folds[person] = growth.index(min(growth))
        for row, added, _ in adds:
            row[folds[person]] += added
    return folds


def lacking_folds(found: Mapping[str, Collection[int]], n_folds: int, kind: Literal["class", "value"]) -> list[Problem]:
    """Folds in which each class or value is found -> a warning for each fold that cannot score it, or whose training never sees it.

    What is found nowhere is a fault of the whole set, which the stage preprocess reports.
    """
    problems = []
    for name, folds in found.items():
        images, fix = (text.format(name) for text in LACKING[kind])
        if len(folds) == 1:
            place = f"fold {next(iter(folds))}"
            problems.append(Problem(f"folds.{kind}_not_trained", place, f"training {images}", "none, as no other fold has one", fix))
        if folds:
            problems += [
                Problem(f"folds.{kind}_not_validated", f"fold {fold}", f"held-out {images}", "none", fix)
                for fold in range(n_folds)
                if fold not in folds
            ]
    return problems


def _tie_breaker(seed: int, person: str) -> str:
    return hashlib.sha256(f"{seed}/{person}".encode()).hexdigest()
