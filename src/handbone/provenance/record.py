"""The record beside a submission, as the stage submit wrote it, checked before anything is said about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_json

Record = dict[str, Any]

PARTS: dict[str, type] = {
    "submission_sha256": str,
    "git": dict,
    "data_sha256": dict,
    "folds_sha256": str,
    "models": dict,
    "decision": dict,
    "parameters": dict,
}
BY_CONTENT = "copy the CSV alone to an empty folder and run handbone explain there on the copy: git's history is searched for its content"


def record_of(csv: Path) -> Path:
    """The path of the record beside a submission, which need not exist."""
    return csv.with_suffix(".json")


def read_record(path: Path, csv: Path) -> Record:
    """The record in `path`, which must be that of `csv`.

    Raises `UserError` if it is no JSON, with each part that is missing or of another kind, and if it is the record of another CSV.
    """
    document = read_json(path)
    if not isinstance(document, dict):
        raise UserError(Problem("explain.record", str(path), "an object", "another value", BY_CONTENT))
    problems = [
        Problem("explain.record", f"{path}: {name}", "a text" if kind is str else "an object", _found(document, name), BY_CONTENT)
        for name, kind in PARTS.items()
        if not isinstance(document.get(name), kind)
    ]
    raise_if_any(problems, f"{path} cannot be used")
    if document["submission_sha256"] != (digest := file_hash(csv)):
        expected, found = f"the record of {csv} (SHA-256 {digest[:12]})", f"that of another CSV ({document['submission_sha256'][:12]})"
        raise UserError(Problem("explain.other_csv", str(path), expected, found, BY_CONTENT))
    return document


def _found(document: Record, name: str) -> str:
    return "another value" if name in document else "none"
