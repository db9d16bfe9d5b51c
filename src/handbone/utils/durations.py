"""How long each stage took on this machine, for the page: one small file per stage, outside of what git and DVC keep."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from handbone.utils.errors import UserError
from handbone.utils.io import write_text

FOLDER = Path(".dvc/tmp/durations")


def timed(main: Callable[[], None], script: str, arguments: Sequence[str]) -> Callable[[], None]:
    """`main`, which also notes its seconds when it ends without an exception, as that of `train@0` for train.py with the argument 0.

    A file that cannot be written changes nothing: no result depends on it.
    """

    def run() -> None:
        start = time.perf_counter()
        main()
        with suppress(UserError):
            write_text(FOLDER / "@".join([Path(script).stem, *arguments]), f"{time.perf_counter() - start:.3f}\n")

    return run


def read_durations() -> dict[str, float]:
    """The seconds of each stage by name. What is no number of seconds is left out."""
    names = sorted(os.listdir(FOLDER)) if FOLDER.is_dir() else []
    found = {name: _seconds(FOLDER / name) for name in names}
    return {name: seconds for name, seconds in found.items() if 0 <= seconds < math.inf}


def _seconds(path: Path) -> float:
    try:
        return float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return math.nan
