"""The decision: how probabilities become masks, for the held-out people and the test set alike. No network runs for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbone.evaluation.dice import count
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.masks.runs import RunLengthMasks
from handbone.masks.upsample import full_masks
from handbone.utils.errors import Problem, UserError, nearest, raise_if_any, require_file
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_json, write_json

CHECKSUM = "checksum"  # a key of the file
AGAIN = "set decide.threshold in params.yaml and run dvc repro, which writes both again"


@dataclass(frozen=True)
class Decision:
    """Everything that `decide` needs to know, kept in reports/decision.json.

    threshold: the probability (0..1) above which a pixel counts as the class, after upsampling to full resolution.
    """

    threshold: float

    def save(self, path: Path, *tables: Path) -> None:
        """Write the decision as JSON, with a checksum of it and of tables: the counts under it, and what they were counted from."""
        write_json(path, asdict(self) | {CHECKSUM: self._checksum(tables)})

    @classmethod
    def load(cls, path: Path, *tables: Path) -> Decision:
        """Read a decision. tables: must be those of `save`; without them this is not checked.

        Raises `UserError` if a file does not exist, for each key that is unknown or missing, for a value of none, and for other tables.
        """
        document, known = read_json(path), [field.name for field in fields(cls)]
        if not isinstance(document, dict):
            raise UserError(Problem("decision.key", str(path), f"an object with {', '.join(known)}", "another value", AGAIN))
        checksum = document.pop(CHECKSUM, None)
        problems = [
            Problem("decision.key", f"{path}: {name}", "a key of the decision", "an unknown one", nearest(name, known))
            for name in document
            if name not in known
        ]
        problems += [Problem("decision.key", f"{path}: {name}", "a value", "none", AGAIN) for name in known if name not in document]
        raise_if_any(problems, f"{path} cannot be used")
        if type(value := document["threshold"]) not in (int, float) or not 0 < value < 1:
            raise UserError(Problem("decision.value", f"{path}: threshold", "a number between 0 and 1", repr(value)[:40], AGAIN))
        decision = cls(float(value))
        if tables and checksum != decision._checksum([require_file(table) for table in tables]):
            expected = f"the decision that was made with {' and '.join(map(str, tables))}"
            raise UserError(Problem("decision.counts", str(path), expected, "one of these files was changed since then", AGAIN))
        return decision

    def _checksum(self, tables: Sequence[Path]) -> str:
        return hashlib.sha256(" ".join([json.dumps(asdict(self), sort_keys=True), *map(file_hash, tables)]).encode()).hexdigest()


def decide(maps: CroppedMaps, shape: tuple[int, int], decision: Decision) -> RunLengthMasks:
    """C maps of probabilities at (h, w) -> C masks at full resolution `shape` (H, W)."""
    return full_masks(maps, shape, decision.threshold)


def decided_counts(maps: CroppedMaps, truth: PackedMasks, decision: Decision) -> NDArray[np.int64]:
    """C maps of probabilities and their truth at full resolution -> (C, 3) pixels: true positive, false positive, false negative."""
    return count(decide(maps, truth.shape, decision), RunLengthMasks.from_packed(truth))
