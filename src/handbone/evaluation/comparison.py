"""Two experiments on the same held-out images: their Dice side by side, image by image and class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from handbone.evaluation.bootstrap import Intervals, paired_intervals
from handbone.evaluation.dice import COUNTS, dice, is_nested, nested_counts, read_counts
from handbone.utils.csv_rows import REWRITE
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.io import read_table

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """The held-out images of one experiment.

    counts: rows of key, class, tp, fp, fn (pixels) and, if the decision was searched on these images, those of `NESTED`.
    people: the person of each image by key.
    """

    name: str
    counts: pd.DataFrame
    people: dict[str, str]

    def array(self, keys: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
        """The counts to compare of these images and classes, in their order: (N, C, 3). After a search those that it did not see."""
        return _array(nested_counts(self.counts), keys, classes)

    def decided(self, keys: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
        """As `array`, but under the decision itself, which the images may have chosen."""
        return _array(self.counts, keys, classes)

    @property
    def classes(self) -> list[str]:
        """All classes, in the order of the experiment."""
        return list(self.counts["class"].unique())

    @property
    def is_nested(self) -> bool:
        """Whether the decision was searched on these images."""
        return is_nested(self.counts)


def _array(table: pd.DataFrame, keys: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    rows = pd.MultiIndex.from_product([keys, classes])
    return table.set_index(["key", "class"]).loc[rows, COUNTS].to_numpy(np.int64).reshape(len(keys), len(classes), 3)


@dataclass(frozen=True)
class Comparison:
    """The images and classes that both experiments have.

    people: the person of each image; first, second: the Dice, (N images, C classes).
    left_out: a sentence for each kind of thing that only one of the two has. other_truth: images whose true masks have other areas in the
    second, so that the difference is partly that of the truth.
    """

    keys: list[str]
    people: list[str]
    classes: list[str]
    first: Floats
    second: Floats
    left_out: list[str]
    other_truth: list[str]

    @property
    def differences(self) -> Floats:
        """The second experiment's Dice minus the first's: (N, C)."""
        return self.second - self.first

    @property
    def notes(self) -> list[str]:
        """Sentences about what the two do not have in common."""
        names = _some(self.other_truth)
        truth = f"the true masks of {len(self.other_truth)} images differ ({names}): the difference is partly that of the truth"
        return [*self.left_out, *([truth] if self.other_truth else [])]

    def overall(self) -> Intervals:
        """The difference of the mean over the classes, as one column."""
        return paired_intervals(self.differences.mean(1, keepdims=True), self.people)

    def by_class(self) -> Intervals:
        """The difference of each of the C classes; all intervals hold together."""
        return paired_intervals(self.differences, self.people)


def read_held_out(name: str, counts: Path, folds: Path) -> HeldOut:
    """The tables that the stages validate and split wrote in one experiment, which errors call `name`.

    Raises `UserError` if a table cannot be used, and with each image that has no person.
    """
    named = read_table(counts, ["key", "class"])
    table = read_counts(counts, list(named["key"].unique()), list(named["class"].unique()))  # every class for each image
    assigned = read_table(folds, ["key", "person"])
    people = dict(zip(assigned["key"], assigned["person"], strict=True))
    unknown = [key for key in table["key"].unique() if key not in people]
    expected = f"the images of {counts}"
    problems = [Problem("compare.person", f"{folds}: {key}", expected, "no row", REWRITE) for key in unknown]
    raise_if_any(problems, f"{name} cannot be compared")
    return HeldOut(name, table, people)


def compare(first: HeldOut, second: HeldOut) -> Comparison:
    """Pair two experiments by the images and classes that both have, in the order of the first.

    Raises `UserError` if the two have no image or no class in common, if there are fewer than two people, and with each image of another
    person.
    """
    keys, images_left = _common(first, second, "key", "held-out images")
    classes, classes_left = _common(first, second, "class", "classes")
    _check_people(first, second, keys)
    one, two = first.array(keys, classes), second.array(keys, classes)
    people = [first.people[key] for key in keys]
    other_truth = [key for key, same in zip(keys, _same_truth(one, two), strict=True) if not same]
    return Comparison(keys, people, classes, dice(one), dice(two), images_left + classes_left, other_truth)


def _common(first: HeldOut, second: HeldOut, column: str, what: str) -> tuple[list[str], list[str]]:
    """What both have in `column`, and a sentence for each of the two that has more."""
    names = [list(table[column].unique()) for table in (first.counts, second.counts)]
    both = [name for name in names[0] if name in set(names[1])]
    if not both:
        expected, found = f"{what} that both have", f"none of {len(names[0])} and {len(names[1])}"
        fix = "compare experiments on the same data and folds"
        raise UserError(Problem(f"compare.{column}", f"{first.name} and {second.name}", expected, found, fix))
    left = [(held.name, [name for name in found if name not in set(both)]) for held, found in zip((first, second), names, strict=True)]
    return both, [f"left out: {len(only)} {what} that only {name} has ({_some(only)})" for name, only in left if only]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _check_people(first: HeldOut, second: HeldOut, keys: Sequence[str]) -> None:
    place, fix = f"{first.name} and {second.name}", "compare experiments on the same data set"
    problems = [
        Problem("compare.other_person", f"{place}: {key}", f"the person {first.people[key]}", second.people[key], fix)
        for key in keys
        if first.people[key] != second.people[key]
    ]
    if len({first.people[key] for key in keys}) < 2:
        expected = "held-out images of two people or more, whose differences tell the noise"
        problems.append(Problem("compare.people", place, expected, "one person", "compare experiments with more folds or people"))
    raise_if_any(problems, f"{place} cannot be compared")


def _same_truth(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Two (N, C, 3) counts -> (N,): whether the true masks, tp + fn, have as many pixels in both."""
    true_pixels = [counts[..., 0] + counts[..., 2] for counts in (first, second)]
    same: NDArray[np.bool_] = (true_pixels[0] == true_pixels[1]).all(1)
    return same
