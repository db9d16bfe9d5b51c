"""Where a submission comes from: parameters, data, models, code."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handbone.utils.hashing import file_hash


def git_revision() -> dict[str, Any]:
    """The commit that is checked out, and whether tracked files differ from it; empty outside a repository."""
    try:
        commit, changed = (
            subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": commit.strip(), "changed_files": sorted(line[3:] for line in changed.splitlines())}


def lineage(
    parameters: Mapping[str, Any],
    data: Mapping[str, Path],
    folds: Path,
    models: Mapping[str, Any],
    decision: Mapping[str, Any],
    submission: Path,
) -> dict[str, Any]:
    """The record that lies beside a submission.

    data: the index of each subset; it holds the hash of every cached sample, so that its own hash stands for images and polygons.
    """
    return {
        "submission_sha256": file_hash(submission),
        "git": git_revision(),
        "data_sha256": {subset: file_hash(index) for subset, index in data.items()},
        "folds_sha256": file_hash(folds),
        "models": dict(models),
        "decision": dict(decision),
        "parameters": dict(parameters),
    }
