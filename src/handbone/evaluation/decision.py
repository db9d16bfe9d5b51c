"""The decision: how probabilities become masks, for the held-out people and the test set alike. No network runs for it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from handbone.config.params import CURRENT
from handbone.evaluation.dice import count
from handbone.masks.argmax import argmax_masks
from handbone.masks.components import Rules, clean
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.joined import joined_masks
from handbone.masks.packed import PackedMasks
from handbone.masks.runs import RunLengthMasks
from handbone.masks.upsample import full_masks
from handbone.utils.errors import Problem, UserError, nearest, raise_if_any, require_file
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_json, write_json

CHECKSUM = "checksum"  # a key of the file
AGAIN = "set decide in params.yaml and run dvc repro, which writes both again"
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Probability = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
Weight = Annotated[int, Field(ge=0, le=1000)]


@dataclass(frozen=True, config=STRICT)
class CleanUp:
    """How the mask of a class is cleaned up: components (8-connected) are dropped, then holes (4-connected) are filled.

    largest: keep the largest component only; min_area: drop components that are a smaller share of the image's pixels;
    fill_holes: set what the components enclose.
    """

    largest: bool = False
    min_area: Share = 0.0
    fill_holes: bool = False


@dataclass(frozen=True, config=STRICT)
class Gain:
    """What a search gains over its default, in units of Dice.

    in_sample: on the people by whom it was found, which is too high; nested, interval: on people that it has not seen.
    """

    in_sample: float
    nested: float
    interval: Interval


@dataclass(frozen=True, config=STRICT)
class SearchRecord:
    """A search, for the reader of the file. tried: in words; accepted: whether its gain, over all classes, is more than noise.

    found, per_class: what it found, and the gain, of each class for which that is not the default.
    """

    tried: str
    gain: Gain
    accepted: bool
    found: dict[str, str]
    per_class: dict[str, Gain]


@dataclass(frozen=True, config=STRICT)
class Decision:
    """Everything that `decide` needs to know, kept in reports/decision.json.

    threshold: the probability (0..1) above which a pixel counts as the class, after upsampling to full resolution; one, or one per class;
    null: classes exclude each other, and each pixel has the most probable one, of several the first.
    clean_up: of every class, in their order; empty: none.
    members: the weight of each member in the mean of their probabilities, for all classes or per class; empty: the current run alone.
    searches: by parameter, the searches behind this decision; empty: it was given.
    """

    threshold: Probability | dict[str, Probability] | None
    clean_up: dict[str, CleanUp] = Field(default_factory=dict)
    searches: dict[str, SearchRecord] = Field(default_factory=dict)
    members: dict[str, Weight | dict[str, Weight]] = Field(default_factory=dict)

    def save(self, path: Path, *tables: Path) -> None:
        """Write the decision as JSON, with a checksum of it and of tables: the counts under it, and what they were counted from."""
        write_json(path, asdict(self) | {CHECKSUM: self._checksum(tables)})

    @classmethod
    def load(cls, path: Path, classes: Sequence[str], *tables: Path) -> Decision:
        """Read a decision for these classes. tables: must be those of `save`; without them this is not checked.

        Raises `UserError` if a file does not exist, for each key that is unknown or missing, for each value of another type or out of
        range, for other classes, and for other tables.
        """
        document = read_json(path)
        checksum = document.pop(CHECKSUM, None) if isinstance(document, dict) else None
        decision = cls.parse(path, document, classes)
        if tables and checksum != decision._checksum([require_file(table) for table in tables]):
            expected = f"the decision that was made with {' and '.join(map(str, tables))}"
            raise UserError(Problem("decision.counts", str(path), expected, "one of these files was changed since then", AGAIN))
        return decision

    @classmethod
    def parse(cls, path: Path, document: Any, classes: Sequence[str]) -> Decision:
        """The decision for these classes in a document of the file `path`. Raises `UserError` as `load` does, except for tables."""
        known = [field.name for field in fields(cls)]
        if not isinstance(document, dict):
            raise UserError(Problem("decision.key", str(path), f"an object with {', '.join(known)}", "another value", AGAIN))
        problems = [
            Problem("decision.key", f"{path}: {name}", "a key of the decision", "an unknown one", nearest(name, known))
            for name in document
            if name not in known
        ]
        problems += [Problem("decision.key", f"{path}: {name}", "a value", "none", AGAIN) for name in known if name not in document]
        raise_if_any(problems, f"{path} cannot be used")
        decision = _parsed(path, document)
        raise_if_any(list(_class_problems(path, decision, classes)), f"{path} cannot be used")
        return decision

    @property
    def exclusive(self) -> bool:
        """Whether each pixel has one class, the most probable one."""
        return self.threshold is None

    def thresholds(self) -> float | NDArray[np.float64]:
        """-> the threshold of all classes, or (C,) one per class. Raises ValueError if classes exclude each other."""
        if self.threshold is None:
            raise ValueError("the most probable class is taken, without a threshold")
        return np.array(list(self.threshold.values())) if isinstance(self.threshold, dict) else self.threshold

    @property
    def names(self) -> list[str]:
        """The members whose probabilities are joined."""
        return list(self.members) or [CURRENT]

    def weights(self, classes: int) -> NDArray[np.int64]:
        """-> (M, C) weights of the members, in their order; those of one member if there are none."""
        rows = [list(weight.values()) if isinstance(weight, dict) else [weight] * classes for weight in self.members.values()]
        return np.array(rows or [[1] * classes], np.int64)

    def rules(self, shape: tuple[int, int]) -> Rules:
        """The clean-up of C classes in an image of (H, W) pixels."""
        rules, pixels = list(self.clean_up.values()), shape[0] * shape[1]
        return Rules(
            np.array([rule.largest for rule in rules], bool),
            np.array([math.ceil(rule.min_area * pixels) for rule in rules], np.int64),
            np.array([rule.fill_holes for rule in rules], bool),
        )

    def _checksum(self, tables: Sequence[Path]) -> str:
        return hashlib.sha256(" ".join([json.dumps(asdict(self), sort_keys=True), *map(file_hash, tables)]).encode()).hexdigest()


def _parsed(path: Path, document: dict[str, Any]) -> Decision:
    try:
        return TypeAdapter(Decision).validate_json(json.dumps(document))  # in JSON a list may stand for a sequence of any type
    except ValidationError as error:
        expected: dict[str, list[str]] = {}  # by place: each of the types that a value may have
        for details in error.errors():
            expected.setdefault(_place(document, details["loc"]), []).append(details["msg"].removeprefix("Input should be "))
    problems = [
        Problem("decision.value", f"{path}: {place}", " or ".join(wanted), "another value", AGAIN) for place, wanted in expected.items()
    ]
    raise UserError(*problems, title=f"{path} cannot be used")


def _place(document: Any, location: Sequence[str | int]) -> str:
    """The keys of `location` that are in the document; pydantic appends the names of types that it tried."""
    keys = []
    for key in location:
        if not isinstance(document, dict) or key not in document:
            break
        document = document[key]
        keys.append(str(key))
    return ".".join(keys)


def _class_problems(path: Path, decision: Decision, classes: Sequence[str]) -> Iterator[Problem]:
    of_members = {f"members: {name}": weight for name, weight in decision.members.items()}
    for name, given in {"threshold": decision.threshold, "clean_up": decision.clean_up, **of_members}.items():
        if isinstance(given, dict) and given and list(given) != list(classes):
            expected, found = f"{', '.join(classes)} (params.yaml: data.classes)", ", ".join(given)
            yield Problem("decision.classes", f"{path}: {name}", expected, found, AGAIN)
    if decision.exclusive:
        alone = {"clean_up": decision.clean_up, **{name: weight for name, weight in of_members.items() if isinstance(weight, dict)}}
        for name in filter(alone.get, alone):
            expected = "the same for all classes, as they exclude each other (threshold: null)"
            yield Problem("decision.value", f"{path}: {name}", expected, "values per class", AGAIN)
    for name in classes:
        weights = [weight.get(name) if isinstance(weight, dict) else weight for weight in decision.members.values()]
        if weights and not any(weights):
            yield Problem("decision.value", f"{path}: members: {name}", "a member with a weight above 0", "none", AGAIN)


def decide(maps: Sequence[CroppedMaps], shape: tuple[int, int], decision: Decision) -> RunLengthMasks:
    """C maps of probabilities of each member, at any sizes (h, w) -> C masks at full resolution `shape` (H, W)."""
    masks = raw_masks(maps, shape, decision)
    return clean(masks, decision.rules(shape)) if decision.clean_up else masks


def raw_masks(maps: Sequence[CroppedMaps], shape: tuple[int, int], decision: Decision) -> RunLengthMasks:
    """The masks before they are cleaned up: the pixels whose probability is above the class's threshold, or that of all other classes."""
    classes = len(maps[0].boxes)
    if decision.exclusive:
        return argmax_masks(maps, decision.weights(classes), shape)
    if len(maps) == 1:
        return full_masks(maps[0], shape, decision.thresholds())
    return joined_masks(maps, decision.weights(classes), shape, np.broadcast_to(decision.thresholds(), classes))


def decided_counts(maps: Sequence[CroppedMaps], truth: PackedMasks, decision: Decision) -> NDArray[np.int64]:
    """C maps of each member and their truth at full resolution -> (C, 3) pixels: true positive, false positive, false negative.

    If classes exclude each other, pixels without a true class are not counted.
    """
    return count(decide(maps, truth.shape, decision), RunLengthMasks.from_packed(truth), decision.exclusive)
