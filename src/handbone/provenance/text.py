"""An explanation as lines for a person."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from handbone.provenance.explanation import Explanation, History
from handbone.provenance.history import Commit
from handbone.provenance.stored import Stored

SENTENCES = {
    "stored": "yes: the CSV itself is in DVC's cache",
    "remote": "yes: the CSV itself is in the remote",
    "run": "yes, by running the graph: code and parameters are those of dvc.lock. On another processor or GPU the last digits may differ",
    "no": "no: not exactly",
    "not_committed": "no",
    "unknown": "unknown",
}
SHOWN = 8  # names in a line


def lines(explanation: Explanation, parameters: Sequence[str]) -> Iterator[str]:
    """The whole text. parameters: lines that say which of them are not the preset's."""
    record = explanation.record
    yield f"{explanation.csv}: the CSV that {explanation.record_from} describes (SHA-256 {explanation.sha256[:12]})"
    yield "\nScore"
    yield from _score(explanation)
    yield "\nMade from"
    yield _row("code", _code(record["git"]))
    yield _row("network", _network(record))
    yield _row("folds", f"{_folds(record['parameters'])}; table {record['folds_sha256'][:12]}{_here(explanation, 'folds')}")
    data = [f"{name} {str(digest)[:12]}{_here(explanation, name)}" for name, digest in record["data_sha256"].items()]
    yield _row("data", ", ".join(data))
    models = [f"fold {fold} {_short(model)}" for fold, model in record["models"].items()]
    yield _row("models", ", ".join(models) or "none")
    yield _row("decision", ", ".join(_decision(record["decision"])) or "none")
    for name, member in _members(record).items():
        yield _row("member", f"{name}: {_brief(member)}")
    for number, line in enumerate(parameters):
        yield _row("" if number else "parameters", line)
    yield "\nCan it be made again from what is committed?"
    yield from _again(explanation)


def _row(name: str, text: str) -> str:
    return f"  {name:<11}{text}"


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a document; empty if there is none, as in a record of another version."""
    part = document.get(name)
    return part if isinstance(part, Mapping) else {}


def _score(explanation: Explanation) -> Iterator[str]:
    metrics = explanation.metrics
    if metrics is None:
        yield "  unknown: no commit, nor the working tree, has a reports/metrics.json that belongs to this CSV"
        return
    for name, found in (("held out", metrics), ("test", _object(metrics, "test"))):
        if isinstance(mean := _object(found, "dice").get("mean"), int | float):
            folds = f", {found['n_folds']} folds" if "n_folds" in found else ""
            yield _row(name, f"mean Dice {mean:.4f} over {found.get('n_images', '?')} images{folds}")


def _code(git: Mapping[str, Any]) -> str:
    if not git.get("commit"):
        return f"unknown: {' '.join(str(git.get('reason', 'the record has no commit')).split())}"
    changed = git.get("changed_files")
    listed = f", and changes that were not committed: {_some(changed)}" if isinstance(changed, list) and changed else ""
    return f"commit {str(git['commit'])[:12]}{listed}"


def _network(record: Mapping[str, Any]) -> str:
    model, train = (_object(record["parameters"], name) for name in ("model", "train"))
    parts = [model.get("arch"), model.get("encoder"), f"{train.get('size')} px", f"from {model.get('weights') or 'random'} weights"]
    return ", ".join(str(part) for part in parts if part)


def _folds(parameters: Mapping[str, Any]) -> str:
    folds = parameters.get("folds")
    return f"{', '.join(map(str, folds)) if isinstance(folds, list) else folds} of {_object(parameters, 'split').get('n_folds', '?')}"


def _here(explanation: Explanation, name: str) -> str:
    same = explanation.here.get(name)
    return "" if same is None else " (as in the working tree)" if same else " (the working tree has another)"


def _short(model: Any) -> str:
    return str(model.get("sha256", "?"))[:12] if isinstance(model, Mapping) else _brief(model)


def _decision(decision: Mapping[str, Any]) -> Iterator[str]:
    """Each choice; one that is equal for all classes as one value."""
    for name, value in decision.items():
        values = list(value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value])
        equal = bool(values) and all(entry == values[0] for entry in values)
        yield f"{name} {_brief(values[0] if equal else value)}"


def _members(record: Mapping[str, Any]) -> dict[str, Any]:
    members = record.get("members")
    return {str(number): member for number, member in enumerate(members)} if isinstance(members, list) else dict(_object(record, "members"))


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(str, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


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
        yield f"  its dvc.lock does not belong to its files: {stage} was run with another {_some(differences)}"
    for names, place in ((stored.remote, f"are in the remote {stored.remote_name}, not in the cache"), (stored.lost, "are nowhere")):
        if names:
            yield f"  {len(names)} outs {place}: {_some(names)}"
    if stored.sources:
        yield f"  no stage makes these again: {_some(stored.sources)}"
    if stored.outside:
        yield f"  neither git nor DVC has these, so they must be on the machine: {_some(stored.outside)}"
    if not stored.changed and not stored.lost and not stored.problem:
        yield "  code, parameters and all results of that commit are there: dvc repro finds nothing to do after dvc checkout"
