"""What a section has found so far, in a file that every new value rewrites."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DIGITS = 4
TRACEBACK = 1200  # characters of a failed part's traceback, from its end


class Record:
    """Values by key. The file is complete after every change, so a killed section loses nothing."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._values: dict[str, Any] = {}

    def get(self, key: str) -> dict[str, Any]:
        """The values put under `key`; empty if there are none."""
        return dict(self._values.get(key, {}))

    def put(self, key: str, value: Any) -> None:
        """Add a value that JSON can hold."""
        self._values[key] = value
        write_json(self._file, self._values)

    def skip(self, key: str, why: str) -> None:
        """Say what is not measured here, and why."""
        self.put(key, {"skipped": why})

    @contextmanager
    def guard(self, key: str) -> Iterator[None]:
        """Record an exception as the failure of `key`, so that what follows is measured all the same."""
        try:
            yield
        except Exception as error:
            text = traceback.format_exc()
            print(text, file=sys.stderr, flush=True)
            self.put(f"{key}_failed", f"{type(error).__name__}: {str(error)[:300]}\n{text[-TRACEBACK:]}")
            if torch := sys.modules.get("torch"):
                torch.cuda.empty_cache()


def write_json(file: Path, value: Any) -> None:
    """Write to a temporary file and rename it, so that the file is complete at any moment; floats keep four significant digits."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(_rounded(value), indent=1) + "\n", encoding="utf-8")
    os.replace(partial, file)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {str(key): _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
