"""Dice by attribute of the images, and the held-out Dice under the test set's mix of values.

A mean hides that one kind of image is worse. If that kind is more frequent in the test set, the held-out mean is too high; weighting the
values' means by their shares of the test images corrects that (post-stratification; Holt and Smith, 1979, doi:10.2307/2344652).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from handbone.dataset.attributes import with_few_values
from handbone.evaluation.bootstrap import paired_intervals
from handbone.evaluation.dice import with_dice
from handbone.utils.errors import Problem, warn

HELD_OUT, TEST = "held-out", "test"
FEW = 5  # people: the interval of a value with fewer would hold the truth in less than nine of ten experiments
COLUMNS = ["subset", "attribute", "value", "class", "images", "dice"]


@dataclass(frozen=True)
class MixedDice:
    """The held-out Dice under the test set's mix of one attribute's values, and the ends of its 95 % interval over people."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]" + (" (too few people for an interval)" if self.low == 0 else "")


def dice_by_attribute(held_out: pd.DataFrame, test: pd.DataFrame, train_attributes: pd.DataFrame, attributes: pd.DataFrame) -> pd.DataFrame:
    """Counts of the held-out and of the test images (no row: truth unknown) -> their Dice by each attribute of two to six known values.

    train_attributes, attributes: of the training and of the test images, by key.
    Rows of subset, attribute, value, class, images, dice (mean over the images).
    """
    names = with_few_values(train_attributes.reindex(held_out["key"].unique()), attributes)
    subsets = (HELD_OUT, held_out, train_attributes), (TEST, test, attributes)
    tables = [_means(counts, known[name], subset) for name in names for subset, counts, known in subsets]
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=COLUMNS)


def dice_under_test_mix(counts: pd.DataFrame, train_attributes: pd.DataFrame, attributes: pd.DataFrame) -> dict[str, MixedDice]:
    """Counts of the held-out images -> their Dice under the test images' mix of values, for each attribute of two to six known values.

    train_attributes, attributes: of the training and of the test images, by key. Images whose value is unknown are left out.
    Warns of values of the test images that no held-out image has; their attribute has no such Dice.
    """
    dice = with_dice(counts).groupby("key", sort=False)["dice"].mean()
    held_out, mixes = train_attributes.reindex(dice.index), {}
    for name in with_few_values(held_out, attributes):
        values = held_out[name]
        shares = attributes.loc[attributes[name] != "", name].value_counts(normalize=True).sort_index()
        lacking = shares.index.difference(list(values))
        warn(*(_lacking(name, value, shares[value]) for value in lacking))
        if len(shares) and not len(lacking):
            mixes[name] = _mixed(dice[values.isin(shares.index)], values, shares)
    return mixes


def _means(counts: pd.DataFrame, values: pd.Series, subset: str) -> pd.DataFrame:
    """The rows of one subset and one attribute, whose `values` are by key; images whose value is unknown are left out."""
    valued = with_dice(counts).assign(value=counts["key"].map(values))
    means = valued[valued["value"] != ""].groupby(["value", "class"], sort=False)["dice"].agg(images="size", dice="mean").reset_index()
    return means.assign(subset=subset, attribute=str(values.name)).sort_values("value", kind="stable")[COLUMNS]


def _mixed(dice: pd.Series, values: pd.Series, shares: pd.Series) -> MixedDice:
    """Dice and value of each image by key, and the share of each value. The interval is 0 to 1 if a value has less than `FEW` people.

    The weighted mean is linearised: the mean of one term per image, so that the bootstrap over people applies to it as to any mean. Terms
    are spread by the square root of n / (n - 1) for n people of a value, who are nearer to their own mean than to that of all people.
    """
    terms, mean, fewest = pd.Series(0.0, dice.index), 0.0, len(dice)
    for value, share in shares.items():
        of_value = dice[values[dice.index] == value]
        n = len(set(of_value.index.map(_person)))
        weight = len(dice) / len(of_value) * share * np.sqrt(n / max(1, n - 1))
        terms[of_value.index] = weight * (of_value - of_value.mean())
        mean, fewest = mean + share * float(of_value.mean()), min(n, fewest)
    if fewest < FEW:
        return MixedDice(mean, 0.0, 1.0)
    interval = paired_intervals(np.array([terms + mean], np.float64).T, terms.index.map(_person).tolist())
    return MixedDice(mean, max(0.0, float(interval.low[0])), float(interval.high[0]))


def _person(key: str) -> str:
    return key.split("/")[0]


def _lacking(name: str, value: str, share: float) -> Problem:
    fix = f"add {name} to split.stratify, or train and validate more folds; until then the held-out Dice says nothing about them"
    return Problem("folds.test_value", "the held-out images", f"some with {name}={value}, as {share:.0%} of the test images", "none", fix)
