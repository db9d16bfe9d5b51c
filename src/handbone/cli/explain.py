"""`handbone explain CSV`: what a submission was made from, and whether it can be made again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from handbone.cli.document import print_document
from handbone.cli.preset import PRESETS, preset_names, preset_params
from handbone.config import paths
from handbone.config.params import Params
from handbone.provenance.explanation import GraphFiles, explain
from handbone.provenance.text import SENTENCES, lines
from handbone.utils.errors import Problem, UserError

FILES = GraphFiles(
    paths.SUBMISSION, paths.LINEAGE, paths.METRICS, {"train": paths.TRAIN_INDEX, "test": paths.TEST_INDEX, "folds": paths.FOLDS}
)


def print_explanation(csv: Path, as_json: bool = False) -> None:
    """Print the score of a submission, what it was made from, and the commands that make it again. Raises `UserError` as `explain` does."""
    if not csv.is_file():
        fix = "correct the path, or run dvc repro or dvc pull if it is the graph's"
        raise UserError(Problem("submission.missing", str(csv), "a submission", "no such file", fix))
    explanation = explain(csv, FILES)
    base, changes = closest_parameters(explanation.record["parameters"])
    if as_json:
        parameters = {"from": base, "changes": changes}
        document = explanation.document() | {"sentence": SENTENCES[explanation.answer], "parameters": parameters}
        print_document(document)
    else:
        listed = [f"{name}: {json.dumps(old)[:60]} -> {json.dumps(new)[:60]}" for name, (old, new) in changes.items()]
        print("\n".join(lines(explanation, [f"{base}{', except:' if listed else ''}", *listed])))


def closest_parameters(recorded: Mapping[str, Any], folder: Path = PRESETS) -> tuple[str, dict[str, tuple[Any, Any]]]:
    """The preset or the defaults that differ least from the recorded parameters, and what differs: its value and the recorded one."""
    known = {"the defaults": Params()}
    with suppress(UserError):  # outside of a project, or a preset of the user that cannot be used
        known = {f"preset {name}": preset_params(name, folder) for name in preset_names(folder)} | known
    mine = _flat(recorded)
    found = {name: _differences(_flat(params.model_dump(mode="json")), mine) for name, params in known.items()}
    closest = min(found, key=lambda name: len(found[name]))
    return closest, found[closest]


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key: `section.key`, or the key itself outside of sections."""
    values: dict[str, Any] = {}
    for name, value in document.items():
        values |= {f"{name}.{key}": entry for key, entry in value.items()} if isinstance(value, Mapping) else {name: value}
    return values


def _differences(known: Mapping[str, Any], recorded: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What the record has otherwise. The record leaves sections out that no submission depends on."""
    return {key: (known.get(key), value) for key, value in recorded.items() if key not in known or known[key] != value}
