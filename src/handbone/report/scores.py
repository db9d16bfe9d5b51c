"""The Dice and IoU of every image, as the page's tables and charts need them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from handbone.evaluation.bootstrap import paired_intervals
from handbone.evaluation.dice import COUNTS, dice, iou, nested_counts
from handbone.evaluation.surface_distances import DISTANCES
from handbone.report.charts import FOLD

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """N images and C classes. people, folds: of each image; folds are empty for the test set, everything is if its truth is unknown.

    dice, iou: (N, C) under the decision; unseen: (N, C), the Dice under a decision that the image's person had no part in, which is `dice`
    itself if nothing was searched. distances: (N, C, 2) HD95 and ASSD in pixels; NaN where there are none, as in the whole test set.
    """

    keys: list[str]
    people: list[str]
    folds: list[int]
    classes: list[str]
    dice: Floats
    iou: Floats
    unseen: Floats
    distances: Floats

    @classmethod
    def of(cls, counts: pd.DataFrame) -> Scores:
        """A table of counts with a row for each image and class; the person is the first part of an image's key."""
        keys, classes = list(counts["key"].unique()), list(counts["class"].unique())
        rows = pd.MultiIndex.from_product([keys, classes])
        decided, unseen = (
            table.set_index(["key", "class"]).loc[rows, COUNTS].to_numpy(np.int64).reshape(len(keys), len(classes), 3)
            for table in (counts, nested_counts(counts))
        )
        folds = counts.drop_duplicates("key")["fold"].astype(int).tolist() if "fold" in counts else []
        distances = counts.set_index(["key", "class"]).reindex(rows, columns=DISTANCES).to_numpy(float).reshape(len(keys), len(classes), 2)
        people = [key.split("/")[0] for key in keys]
        return cls(keys, people, folds, classes, dice(decided), iou(decided), dice(unseen), distances)

    @property
    def searched(self) -> bool:
        """Whether the decision was searched on these images, and others were made without each person."""
        return bool((self.unseen != self.dice).any())

    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean Dice over people; None where there are too few to tell."""
        if len(set(self.people)) < 2:
            return None
        found = paired_intervals(self.unseen.mean(1, keepdims=True), self.people)
        return None if found.low[0] <= -1 else (float(found.low[0]), min(1.0, float(found.high[0])))

    def lowest(self, image: int, count: int = 3) -> list[int]:
        """The classes with the lowest Dice in an image."""
        return [int(label) for label in np.argsort(self.dice[image], kind="stable")[:count]]

    def by_class(self, test: Scores) -> pd.DataFrame:
        """Rows of class; dice, iou, hd95, assd; std, low, high: spread and quartiles of people's means; worst: image; `fold <k>`; test."""
        people = pd.DataFrame(self.dice, self.people).groupby(level=0).mean()
        spread = people.std(ddof=1) if len(people) > 1 else pd.Series(np.nan, people.columns)
        table = pd.DataFrame({"class": self.classes, "dice": self.dice.mean(0), "iou": self.iou.mean(0), "std": spread.to_numpy()})
        table = table.assign(low=people.quantile(0.25).to_numpy(), high=people.quantile(0.75).to_numpy(), worst=self.dice.min(0))
        table[DISTANCES] = np.stack([pd.DataFrame(self.distances[..., at]).mean() for at in range(len(DISTANCES))], 1)
        for fold in sorted(set(self.folds)):
            table[f"{FOLD}{fold}"] = self.dice[np.array(self.folds) == fold].mean(0)
        if not test.keys:
            return table
        return table.merge(pd.DataFrame({"class": test.classes, "test": test.dice.mean(0)}), on="class", how="left")
