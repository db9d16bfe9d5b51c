"""What commands print with --json."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from handbone.utils.errors import Problem


def print_document(document: Any) -> None:
    """Print one JSON document, the only thing on stdout."""
    print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def problem_document(problem: Problem) -> dict[str, str]:
    """A fault as JSON: code, place, expected, found, fix."""
    return asdict(problem)
