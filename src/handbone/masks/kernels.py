"""Loops that NumPy cannot express, compiled by numba at their first call; all clones of a user share the machine code on disk.

numba's own cache belongs to one source file at one path: another clone compiles everything again, and a kernel is not compiled again when
one in another file that it calls, and whose machine code it contains, changes. Here the folder's name is a hash of all files with kernels.
A constant that a kernel uses must be defined in one of these files too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast
from uuid import uuid4

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, InTreeCacheLocator

P = ParamSpec("P")
R = TypeVar("R")
PACKAGE = Path(__file__).parent.parent


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function`; it runs without the interpreter's lock, so that threads run side by side."""
    dispatcher: Any = numba.njit(nogil=True)(function)
    cache: Any = _KernelCache
    dispatcher._cache = cache(function)  # in place of the cache that njit(cache=True) would set
    return cast(Callable[P, R], dispatcher)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """`handbone/kernels-<hash>` in NUMBA_CACHE_DIR, else in XDG_CACHE_HOME, else in ~/.cache. It need not exist or be writable."""
    root = environment.get("NUMBA_CACHE_DIR") or environment.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "handbone" / f"kernels-{_sources_hash()}"


def _sources_hash() -> str:
    """Hash of numba's version and of all files of the package that hold kernels."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        if b"@kernel" in (source := path.read_bytes()):
            digest.update(path.relative_to(PACKAGE).as_posix().encode() + source)
    return digest.hexdigest()[:16]


FOLDER = cache_folder(os.environ)


class _Locator(InTreeCacheLocator):
    """Places a kernel's files by its module and line, never by the path of the clone."""

    @classmethod
    def from_function(cls, function: Any, file: str) -> _Locator:
        return cls(function, file)

    def get_cache_path(self) -> str:
        return str(FOLDER)

    def get_source_stamp(self) -> str:
        return FOLDER.name


class _CacheFiles(CompileResultCacheImpl):
    def __init__(self, function: Any) -> None:
        self._locator_classes = [_Locator]
        super().__init__(function)  # type: ignore[no-untyped-call]


class _KernelCache(FunctionCache):
    """numba's cache of one kernel, in `FOLDER`."""

    _impl_class = _CacheFiles

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Save the machine code for one signature, in a file whose name no other process uses.

        numba numbers these files: of two processes that compile a kernel for two signatures at the same time, one would replace the code of
        the other under the same number. Now the worst case is that one of the two is compiled once more.
        """
        self._cache_file._data_name_pattern = f"{self._impl.filename_base}.{uuid4().hex}.{{number:d}}.nbc"
        super().save_overload(signature, compiled)  # type: ignore[no-untyped-call]

    @contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        """numba loads and saves inside this guard. If the folder cannot be read or written, or the disk is full, kernels still run."""
        with suppress(OSError):
            yield
