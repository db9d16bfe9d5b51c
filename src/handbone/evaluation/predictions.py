"""Stored predictions: do they belong to these folds, these classes and these samples?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from handbone.utils.errors import Problem, raise_if_any
from handbone.utils.io import read_json


def read_predictions_record(record: Path, files: Mapping[str, Path], folds: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
    """Check the predictions of a subset -> their models by fold, as `record` (models.json) describes them.

    files: the npz of each sample by key. folds, classes: those of params.yaml.
    Raises `UserError` if there is no record, if its folds or the classes of a model differ by name or order, and for each missing npz.
    """
    models: dict[str, Any] = read_json(record)["models"]
    wanted, found = [str(fold) for fold in folds], list(models)
    fix = "run dvc repro, which runs the networks again"
    problems = []
    if sorted(found) != sorted(wanted):
        expected = f"predictions of the folds {', '.join(wanted)} (params.yaml: folds)"
        problems.append(Problem("predictions.folds", str(record), expected, f"folds {', '.join(found) or '(none)'}", fix))
    for fold, model in models.items():
        if (names := model["spec"]["classes"]) != list(classes):
            expected = f"predictions of {', '.join(classes)} (params.yaml: data.classes)"
            problems.append(Problem("predictions.classes", f"{record}: fold {fold}", expected, ", ".join(names), fix))
    missing = [path for path in files.values() if not path.is_file()]
    problems += [Problem("predictions.missing", str(path), "the probabilities of this sample", "no file", fix) for path in missing]
    raise_if_any(problems, f"the predictions in {record.parent} cannot be used")
    return models
