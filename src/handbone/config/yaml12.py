"""YAML by version 1.2, as DVC reads it. PyYAML alone reads version 1.1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from handbone.utils.errors import Problem, UserError

# tag, pattern of a plain scalar, its first characters
SCALARS: list[tuple[str, re.Pattern[str], list[str]]] = [
    (f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))
    for tag, pattern, first in [
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
        ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+0123456789."),
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("merge", r"<<", "<"),
    ]
]


class _Yaml12Loader(yaml.SafeLoader):
    """Plain scalars by YAML 1.2: `1e-3` is a number (1.1: a text), `on` is a text (1.1: true), `010` is ten (1.1: eight)."""


_Yaml12Loader.yaml_implicit_resolvers = {}
for _scalar in SCALARS:
    _Yaml12Loader.add_implicit_resolver(*_scalar)


def parse_yaml(text: str) -> Any:
    """The document in `text` by YAML 1.2's rules. Raises `yaml.YAMLError` if there is none, and `RecursionError` if it is too deep."""
    return yaml.load(text, Loader=_Yaml12Loader)


def read_yaml(path: Path) -> Any:
    """The document in `path` by YAML 1.2's rules.

    Raises `UserError` for a missing or broken file.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fix = "run it in the repository's root, or write the file with handbone preset NAME"
        raise UserError(Problem("params.file", str(path), "the parameters", "no such file", fix)) from None
    except RecursionError:
        raise UserError(Problem("params.yaml", str(path), "YAML", "lists in lists, too deep to read", "write the file again")) from None
    except (yaml.YAMLError, ValueError, OSError) as error:  # ValueError: bytes that are no UTF-8, or a number of 5000 digits
        raise UserError(Problem("params.yaml", str(path), "YAML", str(error), "correct the line named above")) from None


def dotted(document: Any, start: str = "") -> dict[str, Any]:
    """Nested mappings as values by dotted key, in their order; an empty mapping is a value. Empty for anything else than a mapping."""
    values: dict[str, Any] = {}
    for key, value in document.items() if isinstance(document, Mapping) else ():
        values |= dotted(value, f"{start}{key}.") if isinstance(value, Mapping) and value else {f"{start}{key}": value}
    return values
