"""What differs from the last run that was committed: scores and parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from handbone.config.yaml12 import dotted
from handbone.evaluation.comparison import Comparison
from handbone.evaluation.surface_distances import DISTANCES
from handbone.report.html import ABSENT, Cell, Json, Number, columns, note, table


@dataclass(frozen=True)
class CommittedRun:
    """A run as git has it. commit: shortened; date: of the commit; metrics, params: reports/metrics.json and params.yaml in it."""

    commit: str
    date: str
    metrics: Json
    params: Json


def changes(before: CommittedRun | str, metrics: Json, params: Json, compared: Callable[[], Comparison | None]) -> str:
    """Tables of what differs, and whether the held-out scores differ by more than noise.

    before: the last committed run, or why there is none; metrics, params: of this run. compared: the held-out images of the committed run
    and of this one, None if they cannot be compared; only called if scores differ.
    """
    if isinstance(before, str):
        return note(f"No committed run to compare with: {before}.")
    name = f"the last committed run ({before.commit}, {before.date})"
    scores, settings = list(_score_rows(before.metrics, metrics)), list(_setting_rows(before.params, params))
    if not scores and not settings:
        return note(f"Scores and parameters are those of {name}.")
    tables = [table(["Score", "Before", "Now", "Difference"], scores)] if scores else []
    tables += [table(["Parameter", "Before", "Now"], settings)] if settings else []
    text = "" if settings else "The parameters are the same. "
    text += _verdict(before.commit, compared()) if scores else "The scores are the same. "
    return f"\n<h3>Since {name}</h3>\n{columns('halves', *tables)}{note(text)}"


def _verdict(commit: str, comparison: Comparison | None) -> str:
    """Whether the mean Dice of the held-out images differs by more than noise."""
    command = f"handbone compare {commit} shows the classes and images that differ."
    if comparison is None:
        return f"DVC’s cache lacks the committed run’s counts, or the two runs have no images to compare. {command}"
    found = comparison.overall()
    ends = f"{found.low[0]:+.4f} to {found.high[0]:+.4f}"
    verdict = f"{'more than' if found.beyond_noise[0] else 'within'} the noise of which people were held out"
    notes = "".join(f"{text[:1].upper()}{text[1:]}. " for text in comparison.notes)
    return f"Validation Dice, image by image: {found.mean[0]:+.4f}, 95 % interval {ends}, {verdict}. {notes}{command}"


def _score_rows(before: Json, now: Json) -> Iterator[list[Cell]]:
    """The numbers that both have and that differ."""
    old = dotted(before)
    for name, value in dotted(now).items():
        if all(isinstance(each, int | float) for each in (value, old.get(name))) and old[name] != value:
            difference = value - old[name]
            pattern = ".4f" if isinstance(difference, float) else ",.0f"
            yield [name, Number(old[name], pattern), Number(value, pattern), Number(difference, f"+{pattern}", _style(name, difference))]


def _style(name: str, difference: float) -> str:
    """Whether a score is better or worse. A count, as of images, is neither; a smaller distance is better."""
    if isinstance(difference, int):
        return ""
    return "better" if (difference < 0) == (name.split(".")[-1] in DISTANCES) else "worse"


def _setting_rows(before: Json, now: Json) -> Iterator[list[Cell]]:
    old, new = dotted(before), dotted(now)
    for name in dict.fromkeys([*old, *new]):
        if (name in old, old.get(name)) != (name in new, new.get(name)):
            yield [name, *(json.dumps(values[name], ensure_ascii=False) if name in values else ABSENT for values in (old, new))]
