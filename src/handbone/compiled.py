"""Loops that NumPy cannot express, compiled by numba at their first call; the machine code is kept on disk for the next process."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function`; it runs without the interpreter's lock, so that threads run side by side."""
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(function))
