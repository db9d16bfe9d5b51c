"""The record of what a submission was computed from: code, data, folds, models, decision, parameters."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from handbone.utils.hashing import file_hash


def git_revision(folder: Path, written: Iterable[Path]) -> dict[str, Any]:
    """The commit checked out in `folder` and the tracked files that differ from it; outside a repository, the reason why it is unknown.

    written: files and folders in `folder` that do not count, as every run writes them.
    """
    others = [f":(exclude){path.as_posix()}" for path in written]
    try:
        commit, changed = (
            subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True).stdout
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no", "--", *others])
        )
    except subprocess.CalledProcessError as error:
        return {"commit": None, "reason": error.stderr.strip()}
    except OSError as error:
        return {"commit": None, "reason": str(error)}
    return {"commit": commit.strip(), "changed_files": sorted(line[3:] for line in changed.splitlines())}


def lineage(
    submission: Path,
    git: Mapping[str, Any],
    data: Mapping[str, Path],
    folds: Path,
    models: Mapping[str, Any],
    members: Mapping[str, Any],
    decision: Mapping[str, Any],
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """The document that is written beside a submission.

    git: the code, as `git_revision` has it.
    data: the index of each subset, which holds the hash of every cached sample, so that its hash covers images and polygons.
    folds: the table of folds. models: the models by fold, as the predictions' record describes them.
    members: pinned experiments that are joined with them, if there are any.
    """
    return {
        "submission_sha256": file_hash(submission),
        "git": dict(git),
        "data_sha256": {subset: file_hash(index) for subset, index in data.items()},
        "folds_sha256": file_hash(folds),
        "models": dict(models),
        **({"members": dict(members)} if members else {}),
        "decision": dict(decision),
        "parameters": dict(parameters),
    }
