"""The parameters of the working tree that its commit does not have, and the experiments that have them too.

`dvc exp run -S` changes params.yaml and leaves it changed, also if the run fails; the next `-S` starts from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handbone.config.yaml12 import dotted, read_yaml
from handbone.provenance.experiments import PARAMS, differences, experiments, params_at
from handbone.provenance.history import GitUnavailableError
from handbone.utils.errors import UserError

LINES, VALUE = 8, 60  # parameters that are named, and characters of a value


@dataclass(frozen=True)
class Change:
    """A parameter that differs from the commit. committed, here: its values, None for a key that is not there; experiments: their names."""

    key: str
    committed: Any
    here: Any
    experiments: list[str]


def uncommitted_params(folder: Path, metrics: Path) -> list[Change]:
    """What differs between params.yaml in `folder` and in the commit that is checked out. Empty if either cannot be read."""
    with suppress(GitUnavailableError, UserError):
        committed = params_at(folder, "HEAD")
        found = differences(committed, dotted(read_yaml(folder / PARAMS))) if committed else {}
        known = experiments(folder, metrics) if found else []
        return [Change(key, *values, [each.name for each in known if each.params.get(key) == values[1]]) for key, values in found.items()]
    return []


def describe(changes: list[Change]) -> Iterator[str]:
    """Lines that name the changes, where they may come from, and the way back."""
    if not changes:
        return
    yield f"params.yaml differs from the commit in {len(changes)} value{'s' if len(changes) > 1 else ''}:"
    for change in changes[:LINES]:
        names = f" (as in {', '.join(change.experiments[:3])})" if change.experiments else ""
        yield f"  {change.key}: {_shown(change.committed)} -> {_shown(change.here)}{names}"
    if len(changes) > LINES:
        yield f"  and {len(changes) - LINES} more: git diff params.yaml"
    yield "the next dvc exp run -S starts from these values"
    yield "to go back: git checkout params.yaml for the commit's, or dvc exp apply NAME for an experiment's"


def _shown(value: Any) -> str:
    text = "none" if value is None else json.dumps(value, default=str)
    return text if len(text) <= VALUE else f"{text[: VALUE - 3]}..."
