"""The decision: how probabilities become masks, for the held-out people and the test set alike. No network runs for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbone.evaluation.dice import count
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.masks.runs import RunLengthMasks
from handbone.masks.upsample import full_masks
from handbone.utils.errors import Problem, nearest, raise_if_any
from handbone.utils.io import read_json, write_json


@dataclass(frozen=True)
class Decision:
    """Everything that `decide` needs to know, kept in reports/decision.json.

    threshold: the probability (0..1) above which a pixel counts as the class, after upsampling to full resolution.
    """

    threshold: float

    def save(self, path: Path) -> None:
        """Write the decision as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> Decision:
        """Read a decision. Raises `UserError` if the file does not exist, and for each key that is unknown or missing."""
        document, known = read_json(path), [field.name for field in fields(cls)]
        problems = [
            Problem("decision.key", f"{path}: {name}", "a key of the decision", "an unknown one", nearest(name, known))
            for name in document
            if name not in known
        ]
        problems += [
            Problem("decision.key", f"{path}: {name}", "a value", "none", "run dvc repro, which writes the file again")
            for name in known
            if name not in document
        ]
        raise_if_any(problems, f"{path} cannot be used")
        return cls(**document)


def decide(maps: CroppedMaps, shape: tuple[int, int], decision: Decision) -> RunLengthMasks:
    """C maps of probabilities at (h, w) -> C masks at full resolution `shape` (H, W)."""
    return full_masks(maps, shape, decision.threshold)


def decided_counts(maps: CroppedMaps, truth: PackedMasks, decision: Decision) -> NDArray[np.int64]:
    """C maps of probabilities and their truth at full resolution -> (C, 3) pixels: true positive, false positive, false negative."""
    return count(decide(maps, truth.shape, decision), RunLengthMasks.from_packed(truth))
