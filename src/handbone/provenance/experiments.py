"""The experiments of a repository as git has them: their metrics, and the parameters in which they differ. Nothing is checked out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handbone.config.yaml12 import dotted
from handbone.provenance.history import EXPERIMENT, ask_git, object_at

PARAMS = "params.yaml"
Values = dict[str, Any]
"""By dotted key."""


@dataclass(frozen=True)
class Experiment:
    """A commit that has metrics. name: of DVC's experiment, or the short hash of a commit; params: values by dotted key."""

    name: str
    commit: str
    metrics: Mapping[str, Any]
    params: Values

    @property
    def score(self) -> float:
        """The mean Dice of the held-out people: after a search of the decision the nested one, which is not too high."""
        dice = self.metrics["dice"]
        return float(dice.get("nested", dice["mean"]))


def experiments(folder: Path, metrics: Path) -> list[Experiment]:
    """Those of DVC that have metrics, of any commit that they started from, newest first. Raises `GitUnavailableError`."""
    listed = ask_git(folder, "for-each-ref", "--sort=-creatordate", "--format=%(objectname) %(refname)", "refs/exps/").splitlines()
    refs = [line.split(" ", 1) for line in listed]
    named = [(commit, ref.split("/", 4)[4]) for commit, ref in refs if EXPERIMENT.match(ref)]
    return list(_with_metrics(folder, metrics, named))


def commits(folder: Path, metrics: Path) -> list[Experiment]:
    """The commits of this branch that changed the metrics, newest first. Raises `GitUnavailableError`."""
    listed = ask_git(folder, "log", "--format=%H %h", "--", metrics.as_posix()).splitlines()
    named = [tuple(line.split()) for line in listed]
    return list(_with_metrics(folder, metrics, [(commit, short) for commit, short in named]))


def revision(folder: Path, metrics: Path, rev: str) -> Experiment | None:
    """One revision of git; None if it has no metrics. Raises `GitUnavailableError` if there is no such revision."""
    commit = ask_git(folder, "rev-parse", "--verify", f"{rev}^{{commit}}").strip()
    return next(_with_metrics(folder, metrics, [(commit, rev)]), None)


def params_at(folder: Path, commit: str) -> Values:
    """The values of params.yaml in a commit by dotted key; empty if it has none that can be read."""
    return dotted(object_at(folder, commit, PARAMS))


def differences(before: Values, after: Values) -> dict[str, tuple[Any, Any]]:
    """The keys whose value is not the same: the value before and after, None for a key that is not there."""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    filled = {key for key in keys if {} in (before.get(key), after.get(key)) and any(other.startswith(f"{key}.") for other in keys)}
    return {key: (before.get(key), after.get(key)) for key in keys if key not in filled}


def _with_metrics(folder: Path, metrics: Path, named: list[tuple[str, str]]) -> Iterator[Experiment]:
    for commit, name in named:
        try:
            found = Experiment(name, commit, object_at(folder, commit, metrics.as_posix()), params_at(folder, commit))
            found.score  # noqa: B018 - a document without a score is none of this project's metrics
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        yield found
