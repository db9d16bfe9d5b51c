"""Parameters as the text of params.yaml: the values of a `Params`, the comments from the descriptions in handbone.config.params."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

import yaml

from handbone.config.params import Params, sections
from handbone.config.yaml12 import SCALARS

UNCHANGED = "as in params.yaml"  # the reason of a value that was there before
COMMENT_COLUMN = 28  # of the comments; longer lines have theirs two spaces behind the value


class _Dumper(yaml.SafeDumper):
    """Block style, without anchors; what YAML 1.1 or 1.2 would not read back as the same text is quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_float(dumper: _Dumper, value: float) -> yaml.ScalarNode:
    """Without an exponent: `1e-05` is a number in YAML 1.2 and a text in YAML 1.1."""
    if not isfinite(value):
        return dumper.represent_float(value)
    text = f"{Decimal(repr(value)):f}"
    return dumper.represent_scalar("tag:yaml.org,2002:float", text if "." in text else f"{text}.0")


_Dumper.add_representer(float, _represent_float)
for _scalar in SCALARS:
    _Dumper.add_implicit_resolver(*_scalar)


def params_text(params: Params, header: str) -> str:
    """The text of a params.yaml that reads back equal; `header` is its first comment. Equal parameters give equal text."""
    return "\n".join([f"# {header}", *_lines(params)]) + "\n"


def yaml_text(document: Any) -> str:
    """The document as YAML that reads back equal."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=10**6)


def overlay_text(params: Params, purpose: str, reasons: Mapping[str, str]) -> str:
    """The text of a preset's file: `purpose` as its first comment, and what differs from the defaults, each with its reason.

    reasons: by dotted key; of other keys: `as in params.yaml`.
    """
    known, lines = sections(), [f"# {purpose}"]
    defaults = Params().model_dump()
    for name, value in params.model_dump().items():
        if value == defaults[name]:
            continue
        lines.append("")
        if name not in known:
            lines += _entry(name, value, reasons.get(name, UNCHANGED))
            continue
        lines.append(f"{name}:")
        for key, entry in value.items():
            if entry != defaults[name][key]:
                lines += [f"  {line}" for line in _entry(key, entry, reasons.get(f"{name}.{key}", UNCHANGED), indent=2)]
    return "\n".join(lines) + "\n"


def _lines(params: Params) -> Iterator[str]:
    known = sections()
    for name, value in params.model_dump().items():
        yield ""
        if name not in known:
            yield from _entry(name, value, Params.model_fields[name].description)
            continue
        yield _commented(f"{name}:", (known[name].__doc__ or "").splitlines()[0].removesuffix("."))
        for key, entry in value.items():
            yield from (f"  {line}" for line in _entry(key, entry, known[name].model_fields[key].description, indent=2))


def _entry(key: str, value: Any, description: str | None, indent: int = 0) -> list[str]:
    """`key: value` in one line or several, with the description behind the first."""
    first, *rest = yaml_text({key: value}).splitlines()
    return [_commented(first, description or "", indent), *rest]


def _commented(line: str, comment: str, indent: int = 0) -> str:
    return f"{line.ljust(COMMENT_COLUMN - indent - 2)}  # {comment}"
