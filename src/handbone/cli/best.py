"""`handbone best`: the experiments by score, which differences are more than noise, and what differs in their parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handbone.cli.compare import held_out, warn_of_truth
from handbone.cli.document import print_document
from handbone.config import paths
from handbone.evaluation.bootstrap import Intervals
from handbone.evaluation.comparison import HeldOut, compare
from handbone.provenance.experiments import Experiment, commits, differences, experiments, revision
from handbone.provenance.history import GitUnavailableError
from handbone.utils.errors import Problem, UserError

HEADS = ["dice", "difference, 95 % interval", "images", "experiment", "parameters that differ"]
PARAMS, VALUE = 5, 40  # parameters that are shown, and characters of a value


@dataclass(frozen=True)
class Row:
    """An experiment beside the one that it is compared with. difference: one column; None if the cache lacks the counts of either."""

    experiment: Experiment
    difference: Intervals | None
    params: dict[str, tuple[Any, Any]]

    @property
    def document(self) -> dict[str, Any]:
        """As JSON; Dice 0..1."""
        found, interval = self.experiment, self.difference
        values = None if interval is None else {key: float(getattr(interval, key)[0]) for key in ("mean", "low", "high")}
        score = {"score": found.score, "n_images": found.metrics.get("n_images"), "n_folds": found.metrics.get("n_folds")}
        params = {key: {"before": before, "after": after} for key, (before, after) in self.params.items()}
        return {"name": found.name, "commit": found.commit, **score, "difference": values, "parameters": params}


def print_best(against: str, number: int, with_commits: bool, as_json: bool) -> None:
    """Print the `number` best experiments, and the revision `against` with which they are compared.

    with_commits: also the commits of this branch. Raises `UserError` if git cannot be asked or the revision has no metrics.
    """
    base, others = _found(against, with_commits)
    best = sorted(others, key=lambda found: -found.score)[:number]
    counts = _counts(base)
    rows = [_row(found, base, counts) for found in sorted([base, *best], key=lambda found: -found.score)]
    if as_json:
        print_document([row.document for row in rows])
    else:
        print("\n".join(_lines(rows, base, len(others) - len(best))))


def _found(against: str, with_commits: bool) -> tuple[Experiment, list[Experiment]]:
    """The revision to compare with, and all others once."""
    here = Path()
    try:
        base = revision(here, paths.METRICS, against)
        others = experiments(here, paths.METRICS) + (commits(here, paths.METRICS) if with_commits else [])
    except GitUnavailableError as error:
        raise UserError(Problem("best.git", against, "a revision of this repository", str(error), error.help)) from None
    if base is None:
        fix = "in the repository's root run dvc repro and commit dvc.lock and reports/, or name another revision with --against"
        raise UserError(Problem("best.metrics", f"{against}: {paths.METRICS}", "metrics", "none", fix))
    return base, list({found.commit: found for found in reversed(others) if found.commit != base.commit}.values())


def _counts(found: Experiment) -> HeldOut | None:
    with suppress(UserError):
        return held_out(found.commit)
    return None


def _row(found: Experiment, base: Experiment, base_counts: HeldOut | None) -> Row:
    params = differences(base.params, found.params)
    if found is base or base_counts is None or (counts := _counts(found)) is None:
        return Row(found, None, params)
    with suppress(UserError):  # no image or no class in common
        paired = compare(base_counts, counts)
        warn_of_truth(base_counts.name, counts.name, paired)
        return Row(found, paired.overall(), params)
    return Row(found, None, params)


def _lines(rows: Sequence[Row], base: Experiment, left: int) -> Iterator[str]:
    cells = [HEADS, *(_cells(row, base) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
    yield ""
    yield f"differences are those to {base.name} on the held-out images that both have; * beyond the noise"
    if any(row.difference is None for row in rows if row.experiment is not base):
        yield "-: DVC's cache lacks the counts of one of the two, or they have no image in common"
    if left:
        yield f"{left} more: handbone best -n {left + len(rows) - 1}"


def _cells(row: Row, base: Experiment) -> list[str]:
    found = row.experiment
    images, changed = found.metrics.get("n_images"), [f"{key}={_shown(after)}" for key, (_, after) in row.params.items()]
    more = [f"{len(changed) - PARAMS} more"] if len(changed) > PARAMS else []
    return [f"{found.score:.4f}", _interval(row, base), str(images or "?"), found.name, ", ".join(changed[:PARAMS] + more)]


def _interval(row: Row, base: Experiment) -> str:
    if row.experiment is base or row.difference is None:
        return "" if row.experiment is base else "-"
    found = row.difference
    mark = " *" if found.beyond_noise[0] else ""
    return f"{found.mean[0]:+.4f} [{found.low[0]:+.4f}, {found.high[0]:+.4f}]{mark}"


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= VALUE else f"{text[: VALUE - 3]}..."
