"""Stored predictions: do they belong to these folds, these classes and these samples, and are they as they were written?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handbone.cache.resize import scaled_shape
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.file_errors import reading
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_json

AGAIN = "run dvc repro, which runs the networks again; if it finds nothing to do, remove the folder data/predictions first"


@dataclass(frozen=True)
class Predictions:
    """The checked predictions of a subset.

    models: by fold, as the record describes them; files: the npz of each sample by key; classes: those that `load` gives, in order.
    order: where the files have the maps of these classes, if they have them in another order; fix: what to do if a file does not fit.
    """

    models: dict[str, Any]
    files: Mapping[str, Path]
    classes: Sequence[str]
    order: Sequence[int] | None = None
    fix: str = AGAIN

    def load(self, key: str, shape: tuple[int, int]) -> CroppedMaps:
        """The probabilities of a sample whose full resolution is `shape` (H, W).

        Raises `UserError` if they are not intact, are of an image of another shape, or are not one map for each class.
        """
        maps = CroppedMaps.load(self.files[key])
        expected = len(self.classes), *scaled_shape(shape, next(iter(self.models.values()))["size"])
        if (found := (len(maps.boxes), *maps.shape)) != expected:
            text = "{} maps of {} x {} pixels".format
            raise UserError(Problem("predictions.shape", str(self.files[key]), text(*expected), text(*found), self.fix))
        return maps if self.order is None else maps.reordered(self.order)


def read_predictions(
    record: Path, files: Mapping[str, Path], folds: Sequence[int], classes: Sequence[str], tables: Sequence[Path], folds_table: Path
) -> Predictions:
    """Check the predictions of a subset against their `record` (models.json), which the stage infer wrote beside them.

    files: the npz of each sample by key. folds, classes: those of params.yaml. tables: those that name the samples; folds_table: the one
    by which the models were trained.
    Raises `UserError` if there is no record, if its folds, the classes of a model, a table or the table of folds of a model differ, and for
    each npz that is missing, is another one than the record's, or is not in it.
    """
    document = read_record(record)
    models = document["models"]
    problems = _model_problems(record, models, folds, classes, folds_table)
    problems += [
        Problem("predictions.tables", str(record), f"predictions for {table} as it is", "predictions for another one", AGAIN)
        for table in tables
        if document["tables"].get(str(table)) != file_hash(table)
    ]
    problems += [problem for key, path in files.items() if (problem := _file_problem(record, key, path, document["files"].get(key)))]
    raise_if_any(problems, f"the predictions in {record.parent} cannot be used")
    return Predictions(models, files, list(classes))


def read_record(record: Path, fix: str = AGAIN) -> Any:
    """The record of a subset's predictions: its `models` by fold, `tables`, and the hash of each file by key in `files`.

    Raises `UserError` (with `fix`) if the file is not such a record.
    """
    document = read_json(record)
    parts = [document.get(name) if isinstance(document, dict) else None for name in ("models", "tables", "files")]
    sound = all(isinstance(part, dict) for part in parts)
    if not sound or not all(isinstance(model, dict) and _is_described(model) for model in document["models"].values()):
        found = "a file of another version, or changed by hand"
        raise UserError(Problem("predictions.record", str(record), "the record that the stage infer writes", found, fix))
    return document


def _is_described(model: dict[str, Any]) -> bool:
    spec, size = model.get("spec"), model.get("size")
    return isinstance(spec, dict) and isinstance(spec.get("classes"), list) and isinstance(size, int) and size > 0


def _model_problems(
    record: Path, models: Mapping[str, Any], folds: Sequence[int], classes: Sequence[str], folds_table: Path
) -> list[Problem]:
    wanted, problems = [str(fold) for fold in folds], []
    if sorted(models) != sorted(wanted):
        expected = f"predictions of the folds {', '.join(wanted)} (params.yaml: folds)"
        problems.append(Problem("predictions.folds", str(record), expected, f"folds {', '.join(models) or '(none)'}", AGAIN))
    digest = file_hash(folds_table)
    for fold, model in models.items():
        place = f"{record}: fold {fold}"
        if (names := model["spec"]["classes"]) != list(classes):
            expected = f"predictions of {', '.join(classes)} (params.yaml: data.classes)"
            problems.append(Problem("predictions.classes", place, expected, ", ".join(map(str, names)), AGAIN))
        if model.get("folds_sha256") != digest:
            found = "a model that was trained by another table"
            problems.append(Problem("predictions.other_folds", place, f"a model of the folds in {folds_table}", found, "run dvc repro"))
    return problems


def _file_problem(record: Path, key: str, path: Path, digest: str | None) -> Problem | None:
    if not path.is_file():
        return Problem("predictions.missing", str(path), "the probabilities of this sample", "no file", AGAIN)
    with reading(path):
        same = file_hash(path) == digest
    return None if same else Problem("predictions.changed", str(path), f"the file that {record} describes", "another one", AGAIN)
