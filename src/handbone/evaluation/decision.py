"""The decision: what turns probabilities into masks, for held-out people and test set alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbone.evaluation.dice import count
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.masks.runs import RunLengthMasks
from handbone.masks.upsample import full_masks
from handbone.utils.io import read_json, write_json


@dataclass(frozen=True)
class Decision:
    """threshold: the probability (0..1) above which a pixel counts as the class, after upsampling to full resolution."""

    threshold: float

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> Decision:
        """The decision as it was written; a `UserError` if there is no such file."""
        return cls(**read_json(path))


def decide(maps: CroppedMaps, shape: tuple[int, int], decision: Decision) -> RunLengthMasks:
    """C maps of probabilities at (h, w) -> C masks at full resolution `shape` (H, W)."""
    return full_masks(maps, shape, decision.threshold)


def decided_counts(maps: CroppedMaps, truth: PackedMasks, decision: Decision) -> NDArray[np.int64]:
    """C maps of probabilities and their truth at full resolution -> (C, 3) pixels: true positive, false positive, false negative."""
    return count(decide(maps, truth.shape, decision), RunLengthMasks.from_packed(truth))
