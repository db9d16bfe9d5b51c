"""Members of an ensemble: the stored predictions of several experiments. Do they belong to the same folds, classes and samples?

An experiment other than the current one is pinned by members/<name>.dvc, a file of DVC with the folders of its predictions as outs. What it
was is in the file too (`Pin`), with the hashes of the two records, which hold the hash of each file: so everything is as it was pinned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from handbone.config.yaml12 import read_yaml
from handbone.evaluation.predictions import Predictions, read_predictions, read_record
from handbone.utils.errors import Problem, UserError, all_of, nearest, raise_if_any
from handbone.utils.hashing import file_hash


@dataclass(frozen=True)
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
    """Where the predictions of a subset are.

    pin: members/<name>.dvc; None for those of the working tree. record: models.json; files: the npz of each sample by key.
    """

    pin: Path | None
    record: Path
    files: Mapping[str, Path]


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
    meta = document.get("meta") if isinstance(document, dict) else None
    known = {field.name for field in fields(Pin)}
    if not isinstance(meta, dict) or meta.keys() != known or not isinstance(meta["records"], dict):
        fix = f"pin it again: handbone members remove {name}, then handbone members add REV --as {name}"
        raise UserError(Problem("members.pin", str(path), f"meta with {', '.join(sorted(known))}", "another document", fix))
    return Pin(**meta)


def read_members(
    stored: Mapping[str, Stored],
    subset: str,
    folds: Sequence[int],
    classes: Sequence[str],
    tables: Sequence[Path],
    folds_table: Path,
) -> dict[str, Predictions]:
    """The checked predictions of a subset (`oof` or `test`) of each member by name, with the classes in the order of `classes`.

    folds, classes: those of params.yaml. tables: those that name the samples; folds_table: the one by which the models were trained.
    Sizes, windows, networks and the preprocessing of members may differ.
    Raises one `UserError` for all members: for the working tree's as `read_predictions` does, for others as `read_pin` does, with each
    file that is missing or not as pinned, and for other folds, another table of folds, other classes and other samples.
    """
    reads = [
        partial(read_predictions, where.record, where.files, folds, classes, tables, folds_table)
        if where.pin is None
        else partial(_read_pinned, where.pin, where, subset, folds, classes, file_hash(folds_table))
        for where in stored.values()
    ]
    return dict(zip(stored, all_of("the predictions cannot be used", *reads), strict=True))


def _read_pinned(pin: Path, where: Stored, subset: str, folds: Sequence[int], classes: Sequence[str], folds_sha256: str) -> Predictions:
    recorded = _recorded_files(pin, where, read_pin(pin).records.get(subset))
    models, other = read_record(where.record)["models"], f"pin an experiment on the same data, or remove {pin.stem} from decide.members"
    problems = _model_problems(pin, models, folds, classes, folds_sha256, other)
    problems += _sample_problems(pin, recorded, where.files, other) + _file_problems(pin, recorded, where.files)
    raise_if_any(problems, "")
    names = next(iter(models.values()))["spec"]["classes"]
    return Predictions(models, where.files, list(classes), [names.index(name) for name in classes], other)


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
