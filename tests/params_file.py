"""The params.yaml of a test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from handbone.cli.preset import preset_params
from imports import ROOT


def write_params(changes: Mapping[str, Any], path: Path = Path("params.yaml")) -> None:
    """Change values of the file, such as {"decide.threshold": 0.4}; without a file, of the demo's parameters."""
    document = json.loads(path.read_text() if path.is_file() else _demo())
    for name, value in changes.items():
        *sections, key = name.split(".")
        target = document
        for section in sections:
            target = target[section]
        target[key] = value
    path.write_text(json.dumps(document))  # JSON is YAML


@cache
def _demo() -> str:
    return preset_params("demo", ROOT / "presets").model_dump_json()
