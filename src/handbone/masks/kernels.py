"""Loops that NumPy cannot express, compiled by numba at their first call; the machine code is kept on disk for the next process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba import config

P = ParamSpec("P")
R = TypeVar("R")
PACKAGE = Path(__file__).parent.parent


def sources_hash(package: Path) -> str:
    """Hash of all files below `package` that hold kernels."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if b"@kernel" in (source := path.read_bytes()):
            digest.update(path.relative_to(package).as_posix().encode() + source)
    return digest.hexdigest()[:16]


# numba compiles a kernel anew when its own file changes, but not when that of another one does which it calls, and whose machine code is
# part of its own: so machine code lies in a folder that belongs to all the sources together
settings: Any = config  # whose names are made at run time
settings.CACHE_DIR = str(Path(settings.CACHE_DIR or PACKAGE / "__pycache__") / f"kernels-{sources_hash(PACKAGE)}")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function`; it runs without the interpreter's lock, so that threads run side by side."""
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(function))
