"""What a submission was made from, as lines for a person: the parts of its record. One of another version is shown as far as it goes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from handbone.config.params import CURRENT
from handbone.provenance.record import Record

SHOWN = 8  # names in a line


def made_from(record: Record, here: Mapping[str, bool | None]) -> Iterator[str]:
    """here: by table (`folds`, and the subsets of the data), whether that of the working tree is the recorded one; None: there is none."""
    decision = record["decision"]
    weights = part(decision, "members")
    yield row("code", _code(record["git"]))
    yield row("network", _network(record) if not weights or CURRENT in weights else "those of the members alone")
    yield row("folds", f"{_folds(record['parameters'])}; table {record['folds_sha256'][:12]}{_here(here.get('folds'))}")
    data = [f"{name} {str(digest)[:12]}{_here(here.get(name))}" for name, digest in record["data_sha256"].items()]
    yield row("data", ", ".join(data))
    yield row("models", _models(record["models"]))
    yield row("decision", ", ".join(_choices(decision)) or "none")
    for name, search in part(decision, "searches").items():
        yield row("search", f"{name}: {_search(search)}")
    pinned = part(record, "members")
    for name in dict.fromkeys([*weights, *pinned]):
        yield row("member", f"{name}, {_weight(weights.get(name))}: {_member(name, pinned.get(name))}")


def row(name: str, text: str) -> str:
    """A line with a name before it."""
    return f"  {name:<11}{text}"


def part(document: Any, name: str) -> Mapping[str, Any]:
    """A part of a document; empty if there is none, as in a record of another version."""
    found = document.get(name) if isinstance(document, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(map(str, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _code(git: Mapping[str, Any]) -> str:
    if not git.get("commit"):
        return f"unknown: {' '.join(str(git.get('reason', 'the record has no commit')).split())}"
    changed = git.get("changed_files")
    listed = f", and changes that were not committed: {some(changed)}" if isinstance(changed, list) and changed else ""
    return f"commit {str(git['commit'])[:12]}{listed}"


def _network(record: Record) -> str:
    model, train = (part(record["parameters"], name) for name in ("model", "train"))
    parts = [model.get("arch"), model.get("encoder"), f"{train.get('size')} px", f"from {model.get('weights') or 'random'} weights"]
    return ", ".join(str(text) for text in parts if text)


def _folds(parameters: Mapping[str, Any]) -> str:
    folds = parameters.get("folds")
    return f"{', '.join(map(str, folds)) if isinstance(folds, list) else folds} of {part(parameters, 'split').get('n_folds', '?')}"


def _here(same: bool | None) -> str:
    return "" if same is None else " (as in the working tree)" if same else " (the working tree has another)"


def _models(models: Mapping[str, Any]) -> str:
    """The weights of each fold, by the first digits of their hash."""
    hashes = {fold: str(model.get("sha256", "?"))[:12] if isinstance(model, Mapping) else _brief(model) for fold, model in models.items()}
    return ", ".join(f"fold {fold} {digest}" for fold, digest in hashes.items()) or "none"


def _choices(decision: Mapping[str, Any]) -> Iterator[str]:
    """What applies to the probabilities; what is equal for all classes as one value."""
    for name, value in decision.items():
        if name not in ("members", "searches") and value != {}:
            values = list(value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value])
            equal = bool(values) and all(entry == values[0] for entry in values)
            yield f"{name} {_brief(values[0] if equal else value)}"


def _search(search: Any) -> str:
    gain, accepted = part(search, "gain"), isinstance(search, Mapping) and search.get("accepted")
    numbers = [gain.get("nested"), *(interval if isinstance(interval := gain.get("interval"), list) else [])]
    if len(numbers) != 3 or not all(isinstance(number, int | float) for number in numbers):
        return _brief(search)
    return "{}, nested gain {:+.4f} [{:+.4f}, {:+.4f}]".format("accepted" if accepted else "not accepted", *numbers)


def _weight(weight: Any) -> str:
    if isinstance(weight, Mapping):
        return f"weights by class {_brief(weight)}"
    return "unknown weight" if weight is None else f"weight {_brief(weight)}"


def _member(name: str, member: Any) -> str:
    """What a pinned experiment was, as `handbone members add` recorded it."""
    if not isinstance(member, Mapping):
        return "the network above" if name == CURRENT and member is None else _brief(member)
    parts = [member.get("arch"), member.get("encoder"), f"{member.get('size')} px"]
    parts += [f"windows of {member['window']}" if member.get("window") else None]
    parts += [f"revision {member.get('revision')} (commit {str(member.get('commit'))[:12]})"]
    return f"{', '.join(str(text) for text in parts if text)}; models {_models(part(member, 'models'))}"


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."
