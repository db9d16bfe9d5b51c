"""A trained set of folds and its record: how the networks see an image, and how their probabilities become masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from handbone.config.params import CURRENT, Params, parse_params
from handbone.evaluation.decision import Decision
from handbone.models.saved import INFO, WEIGHTS
from handbone.utils.errors import Problem, UserError
from handbone.utils.io import new_folder, read_json, write_bytes, write_json

RECORD = "predict.json"  # of an exported folder
USED: dict[str, Any] = {
    "data": {"classes", "exclusive", "mirror"},
    "preprocess": {"size", "clahe"},
    "split": {"n_folds"},
    "folds": True,
    "model": True,
    "train": {"size", "precision", "loss"},
    "infer": True,
    "decide": {"threshold"},
    "submission": True,
}
"""The parameters that decide masks and their CSV, and the loss, which has to fit data.exclusive; an exported record has no others, such as
names of people."""


@dataclass(frozen=True)
class ModelSet:
    """What a record describes.

    folders: of the models by fold; sha256: of the weights of each; commit: of the code that made the submission, followed by `-dirty` if
    files differed from it; None: unknown.
    """

    record: Path
    params: Params
    decision: Decision
    folders: Mapping[int, Path]
    sha256: Mapping[int, str]
    commit: str | None = None


def read_model_set(record: Path, folder_of: Callable[[int], Path]) -> ModelSet:
    """Read the lineage of a submission, or the record of an exported folder. folder_of: where the model of a fold is.

    Raises `UserError` if the file is no such record (`predict.record`), for parameters and a decision that cannot be used, and for a
    decision that joins other experiments, of which there are no models (`predict.members`).
    """
    document = read_json(record)
    parts: list[Any] = [document.get(name) if isinstance(document, dict) else None for name in ("parameters", "decision", "models")]
    if not all(isinstance(part, dict) for part in parts) or not all(map(_is_model, parts[2].items())):
        expected, fix = "the record of a submission, or of handbone export", "run dvc repro, or export the folder again"
        raise UserError(Problem("predict.record", str(record), expected, "another document", fix))
    params = parse_params(parts[0], str(record))
    decision = Decision.parse(record, parts[1], params.data.classes)
    if decision.names != [CURRENT]:
        expected, found = "a decision over the networks of one experiment", f"the members {', '.join(decision.names)}"
        raise UserError(Problem("predict.members", str(record), expected, found, _one_by_one(decision.names, document.get("members"))))
    folders = {fold: folder_of(fold) for fold in params.folds}
    sha256 = {int(fold): model["sha256"] for fold, model in parts[2].items()}
    return ModelSet(record, params, decision, folders, sha256, _commit(document.get("git")))


def _one_by_one(names: Sequence[str], pinned: Any) -> str:
    """How to predict with the experiments that a decision joins. pinned: what the lineage says of those that are pinned."""
    pins = pinned if isinstance(pinned, dict) else {}
    commits = {name: pin.get("commit") for name, pin in pins.items() if isinstance(pin, dict)}
    ways = [f"--rev {str(commits.get(name, 'REV'))[:10]} for {name}" for name in names if name != CURRENT]
    if CURRENT in names:
        ways.append("for the current run set decide.members to {} and run dvc repro, where no network runs")
    return f"predict with each alone (--as csv; {'; '.join(ways)}) and join the files with handbone vote"


def _is_model(entry: tuple[str, Any]) -> bool:
    fold, model = entry
    return fold.isdecimal() and isinstance(model, dict) and isinstance(model.get("sha256"), str)


def _commit(git: Any) -> str | None:
    if not isinstance(git, dict) or not isinstance(git.get("commit"), str):
        return None
    return str(git["commit"]) + ("-dirty" if git.get("changed_files") else "")


def export_model_set(found: ModelSet, out: Path, *writers: Callable[[Path], None]) -> None:
    """Write a folder that needs neither the repository nor its data: the models, and the record without what predictions do not use.

    writers: write more into the folder, which appears when it is complete.
    Raises `UserError` (`export.target`) if `out` exists.
    """
    if out.exists():
        raise UserError(Problem("export.target", str(out), "a path that does not exist yet", "a file or folder", "give another name"))
    with new_folder(out) as folder:
        for fold, source in found.folders.items():
            for name in (WEIGHTS, INFO):
                write_bytes(folder / f"fold_{fold}" / name, (source / name).read_bytes())
        parameters = found.params.model_dump(mode="json", include=USED)
        models = {str(fold): {"sha256": found.sha256[fold]} for fold in found.folders}
        document = {"parameters": parameters, "decision": asdict(found.decision), "models": models}
        write_json(folder / RECORD, document | ({"git": {"commit": found.commit}} if found.commit else {}))
        for write in writers:
            write(folder)
