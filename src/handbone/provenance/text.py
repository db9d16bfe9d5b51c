"""An explanation as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from handbone.provenance.explanation import Explanation, History
from handbone.provenance.history import Commit
from handbone.provenance.made_from import SHOWN, made_from, part, row, some
from handbone.provenance.stored import Stored

SENTENCES = {
    "stored": "yes: the CSV itself is in DVC's cache",
    "remote": "yes: the CSV itself is in the remote",
    "run": "yes, by running the graph: code and parameters are those of dvc.lock. On another processor or GPU the last digits may differ",
    "no": "no: not exactly",
    "not_committed": "no",
    "unknown": "unknown",
}


def lines(explanation: Explanation, parameters: Sequence[str]) -> Iterator[str]:
    """The whole text. parameters: lines that say which of them are not the preset's."""
    record = explanation.record
    yield f"{explanation.csv}: the CSV that {explanation.record_from} describes (SHA-256 {explanation.sha256[:12]})"
    yield "\nScore"
    yield from _score(explanation)
    yield "\nMade from"
    yield from made_from(record, explanation.here)
    for number, line in enumerate(parameters):
        yield row("" if number else "parameters", line)
    yield "\nCan it be made again from what is committed?"
    yield from _again(explanation)


def _score(explanation: Explanation) -> Iterator[str]:
    metrics = explanation.metrics
    if metrics is None:
        yield "  unknown: no commit, nor the working tree, has a reports/metrics.json that belongs to this CSV"
        return
    for name, found in (("held out", metrics), ("test", part(metrics, "test"))):
        if isinstance(mean := part(found, "dice").get("mean"), int | float):
            folds = f", {found['n_folds']} folds" if "n_folds" in found else ""
            yield row(name, f"mean Dice {mean:.4f} over {found.get('n_images', '?')} images{folds}")


def _again(explanation: Explanation) -> Iterator[str]:
    yield f"  {SENTENCES[explanation.answer]}"
    yield from _why(explanation.history, explanation.commit, explanation.stored)
    if explanation.steps:
        yield "  What to run:"
    yield from (f"    {step}" for step in explanation.steps)


def _why(history: History, commit: Commit | None, stored: Stored | None) -> Iterator[str]:
    if history.problem:
        yield f"  {history.problem}"
    if commit is None or stored is None:
        return
    yield f"  commit {commit.commit[:12]} records it ({', '.join(commit.names[:SHOWN]) or 'on no branch'}): {commit.subject[:60]}"
    if stored.problem:
        yield f"  {stored.problem}"
    for stage, differences in stored.changed.items():
        yield f"  its dvc.lock does not belong to its files: {stage} was run with another {some(differences)}"
    for names, place in ((stored.remote, f"are in the remote {stored.remote_name}, not in the cache"), (stored.lost, "are nowhere")):
        if names:
            yield f"  {len(names)} outs {place}: {some(names)}"
    if stored.sources:
        yield f"  no stage makes these again: {some(stored.sources)}"
    if stored.outside:
        yield f"  neither git nor DVC has these, so they must be on the machine: {some(stored.outside)}"
    if not stored.changed and not stored.lost and not stored.problem:
        yield "  code, parameters and all results of that commit are there: dvc repro finds nothing to do after dvc checkout"
