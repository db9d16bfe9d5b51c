"""What differs from the last run that was committed: scores and parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from handbone.report.html import ABSENT, Cell, Json, Number, columns, note, table

CLASS = ".class."  # in the names of metrics: too many to list
ROWS = 12


@dataclass(frozen=True)
class CommittedRun:
    """A run as git has it. commit: shortened; date: of the commit; metrics, params: reports/metrics.json and params.yaml in it."""

    commit: str
    date: str
    metrics: Json
    params: Json


def changes(before: CommittedRun | str, metrics: Json, params: Json) -> str:
    """Tables of what differs. before: the last committed run, or why there is none; metrics, params: of this run."""
    if isinstance(before, str):
        return note(f"No committed run to compare with: {before}.")
    name = f"the last committed run ({before.commit}, {before.date})"
    scores, settings = list(_score_rows(before.metrics, metrics)), list(_setting_rows(before.params, params))
    if not scores and not settings:
        return note(f"Scores and parameters are those of {name}.")
    tables = [table(["Score", "Before", "Now", "Difference"], scores[:ROWS])] if scores else []
    tables += [table(["Parameter", "Before", "Now"], settings)] if settings else []
    text = "" if settings else "The parameters are the same. "
    text += "The scores are the same. " if not scores else f"Is it more than noise? handbone compare {before.commit} tells."
    return f"\n<h3>Since {name}</h3>\n{columns('halves', *tables)}{note(text)}"


def _score_rows(before: Json, now: Json) -> Iterator[list[Cell]]:
    """The numbers that both have and that differ."""
    old = dict(_leaves(before))
    for name, value in _leaves(now):
        known = all(isinstance(each, int | float) for each in (value, old.get(name)))
        if known and CLASS not in name and old[name] != value:
            style = "" if value == old[name] else "better" if value > old[name] else "worse"
            pattern = ".4f" if isinstance(value, float) else ",.0f"
            yield [name, Number(old[name], pattern), Number(value, pattern), Number(value - old[name], f"+{pattern}", style)]


def _setting_rows(before: Json, now: Json) -> Iterator[list[Cell]]:
    old, new = dict(_leaves(before)), dict(_leaves(now))
    for name in dict.fromkeys([*old, *new]):
        if (name in old, old.get(name)) != (name in new, new.get(name)):
            yield [name, *(json.dumps(values[name], ensure_ascii=False) if name in values else ABSENT for values in (old, new))]


def _leaves(document: Json, start: str = "") -> Iterator[tuple[str, Any]]:
    """A nested object -> the name (`train.size`) and value of everything that is no object."""
    for name, value in document.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{start}{name}.")
        else:
            yield f"{start}{name}", value
