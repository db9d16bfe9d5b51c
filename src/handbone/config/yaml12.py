"""YAML as DVC reads it: by version 1.2, where PyYAML is of 1.1."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from handbone.utils.errors import UserError


class _Yaml12Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars, as DVC reads the same file: `1e-3` is a number, `on` and `010` are not what 1.1 makes of them."""


_Yaml12Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in [
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
]:
    _Yaml12Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def read_yaml(path: Path) -> Any:
    """The document in `path` by YAML 1.2's rules; a missing or broken file is a `UserError`."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Yaml12Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: expected the parameters, found no such file; copy one from presets/") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: expected YAML, found {error}; mend what is named") from None
