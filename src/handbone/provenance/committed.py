"""The run whose scores git has: what the page compares the present one with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from handbone.config.yaml12 import parse_yaml
from handbone.provenance.history import GitUnavailableError, ask_git, file_at
from handbone.report.changes import CommittedRun


def committed_run(folder: Path, metrics: Path, params: Path) -> CommittedRun | str:
    """The run in the commit that is checked out in `folder`, by its metrics and parameters; or the reason why there is none.

    commit and date are those of the last commit that changed the metrics.
    """
    try:
        written = ask_git(folder, "log", "-1", "--format=%h %cs", "--", str(metrics)).split()
        commit = ask_git(folder, "rev-parse", "HEAD").strip()
    except GitUnavailableError as error:
        return error.reason
    documents = [_object(file_at(folder, commit, path.as_posix())) for path in (metrics, params)]
    if not written or not all(documents):
        return f"the commit that is checked out has no {metrics} and {params} that can be read"
    return CommittedRun(written[0], written[1], *documents)


def _object(content: bytes | None) -> dict[str, Any]:
    """JSON or YAML as an object; empty if there is none."""
    text = (content or b"").decode(errors="replace")
    try:
        document = json.loads(text) if text.startswith("{") else parse_yaml(text)
    except (ValueError, yaml.YAMLError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
