"""One of the two experiments: the masks that it predicts for a held-out image, checked against what was counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handbone.cache.sample import read_sample
from handbone.evaluation.comparison import HeldOut
from handbone.evaluation.decision import Decision, decide
from handbone.evaluation.dice import count
from handbone.evaluation.members import maps_of
from handbone.masks.runs import RunLengthMasks
from handbone.report.layers import Shown
from handbone.utils.errors import Problem, UserError, all_of

AGAIN = "run dvc repro for this revision and commit its dvc.lock"


@dataclass(frozen=True)
class Member:
    """One of the networks that the decision joins. record: of its predictions; prediction: the npz of an image's probabilities, by key."""

    record: Path
    prediction: Callable[[str], Path]


@dataclass(frozen=True)
class Side:
    """An experiment. held: its counts; members: those of its decision, in their order; sample: the npz of an image, by key."""

    held: HeldOut
    decision: Decision
    members: Sequence[Member]
    sample: Callable[[str], Path]

    def show(self, key: str, classes: Sequence[str]) -> Shown:
        """The image and its masks of `classes`.

        Raises `UserError` if a file cannot be read, and if the masks are not those that were counted.
        """
        names = self.held.classes
        reads = [lambda member=member: maps_of(member.record, member.prediction(key), names) for member in self.members]
        sample, *maps = all_of(f"{self.held.name} cannot be shown", lambda: read_sample(self.sample(key)), *reads)
        predicted = decide(maps, sample.shape, self.decision)
        truth = RunLengthMasks.from_packed(sample.truth)
        order = [names.index(name) for name in classes]
        if not np.array_equal(count(predicted, truth, self.decision.exclusive)[order], self.held.decided([key], classes)[0]):
            expected, found = "the masks that validate counted", "other ones"
            raise UserError(Problem("compare.other_masks", f"{self.held.name}: {key}", expected, found, AGAIN))
        return Shown.of(sample, predicted).only(order)
