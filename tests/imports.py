"""Which of the project's files a script runs, found in its import statements: what DVC must know as the stage's dependencies."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"


@cache
def closure(script: Path) -> frozenset[str]:
    """The files of src/ and stages/ that `script` imports, directly or not, itself included, relative to the repository's root.

    A package's __init__.py counts where it holds more than a docstring.
    """
    seen: set[Path] = set()
    waiting = [script, ROOT / "stages/__init__.py"]
    while waiting:
        file = waiting.pop()
        if file not in seen and _has_code(file):
            seen.add(file)
            waiting += [found for name in imported_names(file) for found in _files(name)]
    return frozenset(file.relative_to(ROOT).as_posix() for file in seen)


@cache
def imported_names(file: Path) -> list[str]:
    """The dotted names that a file's import statements name, e.g. `handbone.cache.sample.read_sample`."""
    names = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _files(name: str) -> Iterator[Path]:
    """`handbone.cache.sample.read_sample` -> the files of handbone.cache and handbone.cache.sample."""
    parts = name.split(".")
    # not handbone/__init__.py: it has what users import, inside of a function that no stage calls (tests/test_load.py)
    for length in range(2 if parts[0] == "handbone" else 1, len(parts) + 1):
        base = SOURCE.joinpath(*parts[:length])
        yield from (path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file())


@cache
def _has_code(file: Path) -> bool:
    body = ast.parse(file.read_text()).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)
