"""One of the two experiments: the masks that it predicts for a held-out image, checked against what was counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handbone.cache.resize import UInt8Image
from handbone.cache.sample import read_sample
from handbone.evaluation.comparison import HeldOut
from handbone.evaluation.decision import Decision, decide
from handbone.evaluation.dice import count
from handbone.masks.boxed import BoxedMasks
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.runs import RunLengthMasks
from handbone.utils.errors import Problem, UserError
from handbone.utils.io import read_json

AGAIN = "run dvc repro for this revision and commit its dvc.lock"


@dataclass(frozen=True)
class Shown:
    """An image with masks of the asked classes at full resolution (H, W). image: at cache size."""

    image: UInt8Image
    truth: BoxedMasks
    predicted: BoxedMasks


@dataclass(frozen=True)
class Side:
    """An experiment. held: its counts; decision: its reports/decision.json; record: the record of its predictions, which names the classes.

    sample, prediction: the npz of an image and of its probabilities, by key.
    """

    held: HeldOut
    decision: Path
    record: Path
    sample: Callable[[str], Path]
    prediction: Callable[[str], Path]

    def show(self, key: str, classes: Sequence[str]) -> Shown:
        """The image and its masks of `classes`.

        Raises `UserError` if a file cannot be read, and if the masks are not those that were counted, as when the decision joins members
        whose probabilities this revision does not have.
        """
        sample, maps = read_sample(self.sample(key)), CroppedMaps.load(self.prediction(key))
        if sample.masks is None:
            raise ValueError(f"{key} has no masks")
        names = self._classes()
        predicted = decide([maps], sample.shape, Decision.load(self.decision, names))
        truth = RunLengthMasks.from_packed(sample.masks)
        order = [names.index(name) for name in classes]
        if not np.array_equal(count(predicted, truth)[order], self.held.array([key], classes)[0]):
            expected, found = "the masks that validate counted", "other ones"
            raise UserError(Problem("compare.other_masks", f"{self.held.name}: {key}", expected, found, AGAIN))
        return Shown(sample.image, _only(sample.masks.unpack(), order), _only(predicted.boxed(), order))

    def _classes(self) -> list[str]:
        document = read_json(self.record)
        try:
            return list(next(iter(document["models"].values()))["spec"]["classes"])
        except (KeyError, TypeError, AttributeError, StopIteration):
            raise UserError(
                Problem("compare.record", str(self.record), "the record that the stage infer writes", "another", AGAIN)
            ) from None


def _only(masks: BoxedMasks, order: Sequence[int]) -> BoxedMasks:
    return BoxedMasks(masks.shape, masks.boxes[list(order)], [masks.crops[index] for index in order])
