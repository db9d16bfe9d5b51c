"""People -> folds: the rule of scikit-learn's GroupKFold, written out so that no library version can deal the people differently."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from handbone.utils.errors import UserError


def assign_folds(images: Mapping[str, int], n_folds: int, seed: int) -> dict[str, int]:
    """Number of images of each person -> the person's fold.

    The person with most images goes first, each to the fold with fewest so far. Ties between people are broken by a hash of seed
    and name, ties between folds by their number: no random generator, no sort's order is involved.
    Raises `UserError` where there are fewer people than folds.
    """
    if len(images) < n_folds:
        raise UserError(f"split.n_folds: expected at most {len(images)}, the number of people; found {n_folds}; lower it or add people")
    totals = [0] * n_folds
    folds = {}
    for person in sorted(images, key=lambda name: (-images[name], _draw(seed, name))):
        folds[person] = totals.index(min(totals))
        totals[folds[person]] += images[person]
    return folds


def _draw(seed: int, person: str) -> str:
    return hashlib.sha256(f"{seed}/{person}".encode()).hexdigest()
