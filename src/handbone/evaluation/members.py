"""Members of an ensemble: the stored predictions of several experiments. Do they belong to the same folds, classes and samples?

An experiment other than the current one is pinned by members/<name>.dvc, a file of DVC with the folders of its predictions as outs. What it
was is in the file too (`Pin`), with the hashes of the two records, which hold the hash of each file: so everything is as it was pinned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import pydantic.dataclasses
from pydantic import ConfigDict, ValidationError

from handbone.config.params import CURRENT
from handbone.config.yaml12 import read_yaml
from handbone.evaluation.predictions import Predictions, read_predictions, read_record
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.errors import Problem, UserError, all_of, nearest, raise_if_any, require_file
from handbone.utils.hashing import file_hash


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Pin:
    """What a pinned experiment was.

    revision: the name under which it was pinned; commit: of that revision; arch, encoder, size, window: `model.arch`, `model.encoder`,
    `train.size` and `infer.window_size` of its predictions; records: SHA-256 of models.json by subset.
    """

    revision: str
    commit: str
    arch: str
    encoder: str | None
    size: int
    window: int | None
    records: dict[str, str]


@dataclass(frozen=True)
class Stored:
    """Where a member's predictions of a subset are. pin: members/<name>.dvc, not of the current run; record: models.json; files: by key."""

    pin: Path
    record: Path
    files: Mapping[str, Path]


@dataclass(frozen=True)
class Ensemble:
    """The predictions of a subset by each member, by name. pins: what the members other than the current run were."""

    members: Mapping[str, Predictions]
    pins: Mapping[str, Pin]
    classes: Sequence[str]

    def load(self, key: str, shape: tuple[int, int]) -> list[CroppedMaps]:
        """The probabilities of a sample by each member, at the member's own size. Raises `UserError` as `Predictions.load` does."""
        return [predictions.load(key, shape) for predictions in self.members.values()]

    @property
    def models(self) -> dict[str, Any]:
        """The models of the current run by fold; none if it is no member."""
        return self.members[CURRENT].models if CURRENT in self.members else {}

    def pinned(self) -> dict[str, Any]:
        """For the lineage: what each other member was, with its models."""
        return {name: asdict(pin) | {"models": self.members[name].models} for name, pin in self.pins.items()}


def read_pin(path: Path) -> Pin:
    """Read members/<name>.dvc.

    Raises `UserError` if there is no such file (`members.unknown`), or if it is not what `handbone members add` writes (`members.pin`).
    """
    name = path.stem
    if not path.is_file():
        others = sorted(other.stem for other in path.parent.glob("*.dvc"))
        fix = nearest(name, others) if others else f"pin an experiment: handbone members add REV --as {name}"
        raise UserError(Problem("members.unknown", f"params.yaml: decide.members: {name}", f"the file {path}", "none", fix))
    document: Any = read_yaml(path)
    try:
        return Pin(**document["meta"])
    except (ValidationError, TypeError, KeyError):  # TypeError: no document of this form
        known = ", ".join(field.name for field in fields(Pin))
        fix = f"pin it again: handbone members remove {name}, then handbone members add REV --as {name}"
        raise UserError(Problem("members.pin", str(path), f"meta with {known}", "another document", fix)) from None


def read_members(
    stored: Mapping[str, Stored],
    subset: str,
    folds: Sequence[int],
    classes: Sequence[str],
    tables: Sequence[Path],
    folds_table: Path,
    exclusive: bool,
) -> Ensemble:
    """Check the predictions of a subset (`oof` or `test`) by each member, by name; `current` is the run of the working tree.

    folds, classes: those of params.yaml. tables: those that name the samples; folds_table: the one by which the models were trained.
    exclusive: `data.exclusive`.
    Networks, sizes, windows, preprocessing and the order of classes may differ between members.
    Raises one `UserError` for all members: for the current run as `read_predictions` does, for others as `read_pin` does, with each file
    that is missing or not as pinned, and for other folds, another table of folds, other classes, their kind, and other samples.
    """
    reads = [
        partial(_read_pinned, where, subset, folds, classes, folds_table)
        if name != CURRENT
        else partial(read_predictions, where.record, where.files, folds, classes, tables, folds_table)
        for name, where in stored.items()
    ]
    members = dict(zip(stored, all_of(f"the {subset} predictions cannot be used", *reads), strict=True))
    raise_if_any(_other_kinds(members, exclusive), f"the {subset} predictions cannot be used")
    return Ensemble(members, {name: read_pin(stored[name].pin) for name in members if name != CURRENT}, list(classes))


def maps_of(record: Path, file: Path, classes: Sequence[str]) -> CroppedMaps:
    """The maps of a sample, which `read_members` has checked in an earlier stage, with the classes in this order.

    Raises `UserError` if the file does not exist or is not intact, and if the record is of other classes.
    """
    fix = "run dvc repro, which decides again, and commit its dvc.lock"
    models = read_record(record, fix)["models"]
    names = next(iter(models.values()))["spec"]["classes"] if models else []
    if sorted(names) != sorted(classes):
        raise UserError(Problem("members.classes", str(record), f"the classes {', '.join(classes)}", ", ".join(map(str, names)), fix))
    return CroppedMaps.load(require_file(file)).reordered(_order(models, classes))


def pinned_file(pin: Path, path: Path) -> Path:
    """`path`, a file that the pin names. Raises `UserError` with the command that brings it if it is missing."""
    if not path.is_file():
        raise UserError(_missing(pin, path))
    return path


def _read_pinned(where: Stored, subset: str, folds: Sequence[int], classes: Sequence[str], folds_table: Path) -> Predictions:
    pin, fix = where.pin, f"pin an experiment on the same data, or remove {where.pin.stem} from decide.members"
    recorded = _recorded_files(pin, where, read_pin(pin).records.get(subset))
    models = read_record(where.record)["models"]
    problems = _model_problems(pin, models, folds, classes, file_hash(folds_table), fix)
    problems += _sample_problems(pin, recorded, where.files, fix) + _file_problems(pin, recorded, where.files)
    raise_if_any(problems, "")
    return Predictions(models, where.files, list(classes), _order(models, classes), fix)


def _other_kinds(members: Mapping[str, Predictions], exclusive: bool) -> list[Problem]:
    """A problem for each member whose probabilities are not those of classes that exclude each other, or are, unlike params.yaml."""
    expected, found = (f"data.exclusive: {'true' if one else 'false'}" for one in (exclusive, not exclusive))
    fix = "join experiments of one kind only"
    return [
        Problem("members.exclusive", f"params.yaml: decide.members: {name}", f"an experiment with {expected}", found, fix)
        for name, predictions in members.items()
        if any(model["spec"].get("exclusive", False) != exclusive for model in predictions.models.values())
    ]


def _order(models: Mapping[str, Any], classes: Sequence[str]) -> list[int]:
    """Where the maps of these classes are in the files that the models wrote."""
    names = next(iter(models.values()))["spec"]["classes"]
    return [names.index(name) for name in classes]


def _recorded_files(pin: Path, where: Stored, record_sha256: str | None) -> dict[str, str]:
    """The hash of each file by key, by the record that was pinned. Raises `UserError` if the record is missing or another one."""
    missing = [path for path in (where.record, *where.files.values()) if not path.is_file()]
    if where.record in missing:
        raise UserError(*(_missing(pin, path) for path in missing))
    if file_hash(where.record) != record_sha256:
        raise UserError(_changed(pin, where.record))
    files: dict[str, str] = read_record(where.record)["files"]
    return files


def _file_problems(pin: Path, recorded: Mapping[str, str], files: Mapping[str, Path]) -> list[Problem]:
    problems = []
    for key, path in files.items():
        if key in recorded and not path.is_file():
            problems.append(_missing(pin, path))
        elif key in recorded and file_hash(path) != recorded[key]:
            problems.append(_changed(pin, path))
    return problems


def _missing(pin: Path, path: Path) -> Problem:
    fix = f"run dvc checkout {pin}, or dvc pull {pin} if DVC's cache does not have it"
    return Problem("members.missing", str(path), f"a file that {pin} pins", "no file", fix)


def _changed(pin: Path, path: Path) -> Problem:
    return Problem("members.changed", str(path), f"the file that {pin} pins", "another one", f"run dvc checkout --force {pin}")


def _sample_problems(pin: Path, recorded: Mapping[str, str], files: Mapping[str, Path], fix: str) -> list[Problem]:
    """The samples that only the member has, or only the data set."""
    expected = f"the samples of {pin.stem} and of this data set to be the same"
    kinds = [("no prediction of it", files.keys() - recorded.keys()), ("a prediction of another sample", recorded.keys() - files.keys())]
    return [Problem("members.samples", f"{pin}: {key}", expected, found, fix) for found, keys in kinds for key in sorted(keys)]


def _model_problems(
    pin: Path, models: Mapping[str, Any], folds: Sequence[int], classes: Sequence[str], folds_sha256: str, fix: str
) -> list[Problem]:
    """What makes the models of a member others than those of params.yaml."""
    problems, wanted = [], sorted(map(str, folds))
    if sorted(models) != wanted:
        found = f"folds {', '.join(sorted(models)) or '(none)'}"
        problems.append(Problem("members.folds", str(pin), f"the folds {', '.join(wanted)} (params.yaml: folds)", found, fix))
    for fold, model in models.items():
        place = f"{pin}: fold {fold}"
        if sorted(names := model["spec"]["classes"]) != sorted(classes):
            expected = f"the classes {', '.join(classes)} (params.yaml: data.classes)"
            problems.append(Problem("members.classes", place, expected, ", ".join(map(str, names)), fix))
        if model.get("folds_sha256") != folds_sha256:
            expected, found = "a model of the same table of folds", "another one: it may have seen people who are held out now"
            problems.append(Problem("members.other_folds", place, expected, found, fix))
    return problems
