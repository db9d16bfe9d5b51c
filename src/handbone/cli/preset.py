"""`handbone preset NAME`: write params.yaml from the defaults and what presets/NAME.yaml changes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from handbone.cli.params_yaml import params_text
from handbone.cli.weights import weights_note
from handbone.config.params import ModelParams, Params, parse_params, sections
from handbone.config.yaml12 import read_yaml
from handbone.utils.errors import Problem, UserError, nearest
from handbone.utils.io import write_text

PRESETS = Path("presets")
PARAMS = Path("params.yaml")


def preset_names(folder: Path) -> list[str]:
    """The presets in `folder`, sorted.

    Raises `UserError` if it has none.
    """
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if not names:
        raise UserError(Problem("preset.folder", str(folder), "the project's presets", "none", "run it in the repository's root"))
    return names


def preset_params(name: str, folder: Path) -> Params:
    """The defaults with the changes of one preset: its sections change single keys, each value is replaced as a whole.

    Raises `UserError` for an unknown preset, and for keys and values that its file may not have.
    """
    if name not in (known := preset_names(folder)):
        raise UserError(Problem("preset.name", name, "the name of a preset", "no such preset", nearest(name, known)))
    path = folder / f"{name}.yaml"
    changes = read_yaml(path)
    document: Any = Params().model_dump()
    if isinstance(changes, dict):
        for key, value in changes.items():
            document[key] = document[key] | value if key in sections() and isinstance(value, dict) else value
    elif changes is not None:  # None: the file has comments only
        document = changes
    return parse_params(document, str(path))


def preset_text(name: str, folder: Path) -> str:
    """The params.yaml of one preset."""
    header = f"Written by `handbone preset {name}`. `dvc exp run -S train.epochs=40` changes a value for one experiment."
    return params_text(preset_params(name, folder), header)


def preset_purpose(name: str, folder: Path) -> str:
    """What the preset is for: the first line of its file, a comment."""
    return (folder / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()


def run_preset(name: str | None, listed: bool, force: bool) -> None:
    """List the presets, or write one. Raises `UserError` as `write_preset` does."""
    if name is None or listed:
        list_presets()
    else:
        write_preset(name, force)


def list_presets(folder: Path = PRESETS) -> None:
    """Print each preset's name and what it is for."""
    names = preset_names(folder)
    for name in names:
        print(f"{name:<{max(map(len, names))}}  {preset_purpose(name, folder)}")


def write_preset(name: str, force: bool = False, folder: Path = PRESETS, path: Path = PARAMS) -> None:
    """Write a preset to `path` and print each value that changes.

    Raises `UserError` if changes in `path` would be lost: neither a preset nor the last commit has the same content. force: write anyway.
    """
    text = preset_text(name, folder)
    if path.is_file() and not force and not _can_be_restored(path, folder):
        expected = "a file as a preset writes it, or as in the last commit"
        fix = "commit it to keep its changes, or add --force to lose them"
        raise UserError(Problem("preset.overwrite", str(path), expected, "other changes", fix))
    before = _values(path)
    write_text(path, text)
    print(f"{path}: written from preset {name}")
    for line in _differences(before, _values(path)):
        print(line)
    model, default = preset_params(name, folder).model, ModelParams()
    named = model.encoder != default.encoder or model.arch == default.arch  # else it may be of a network that takes no encoder
    if note := weights_note(model.encoder if named else None, model.weights):
        print(note, file=sys.stderr)


def _can_be_restored(path: Path, folder: Path) -> bool:
    """Whether the last commit has the same content, or a preset writes it."""
    content = path.read_bytes()
    return content == _committed(path) or any(content == preset_text(name, folder).encode() for name in preset_names(folder))


def _committed(path: Path) -> bytes | None:
    """The file as in git's last commit; None if git does not know it."""
    try:
        shown = subprocess.run(["git", "show", f"HEAD:./{path.name}"], cwd=path.parent, capture_output=True)
    except FileNotFoundError:  # git is not installed
        return None
    return None if shown.returncode else shown.stdout


def _values(path: Path) -> dict[str, str]:
    """Every value of a params.yaml as JSON, by dotted key; none if the file does not exist or cannot be read."""
    try:
        document = read_yaml(path)
    except UserError:
        return {}
    values: dict[str, str] = {}
    for name, value in document.items() if isinstance(document, dict) else ():
        keys = {f"{name}.{key}": entry for key, entry in value.items()} if isinstance(value, dict) else {name: value}
        values |= {key: json.dumps(entry, default=str) for key, entry in keys.items()}
    return values


def _differences(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    """A line for each value that differs; all values of a file that did not exist before go without saying."""
    for key in dict.fromkeys([*before, *after]) if before else ():
        old, new = before.get(key, "nothing"), after.get(key, "nothing")
        if old != new:
            yield f"  {key}: {old[:60]} -> {new[:60]}"
