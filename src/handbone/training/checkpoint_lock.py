"""Only one training at a time uses a checkpoint: a second one with the same key waits for the first, then refuses."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from handbone.utils.errors import Problem, UserError, warn
from handbone.utils.limits import require_writable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "in_use"  # a file in the checkpoint's folder
WAIT = 30.0  # seconds: a training that was asked to end finishes its step and saves in this time


@contextmanager
def checkpoint_lock(folder: Path, wait: float = WAIT) -> Iterator[None]:
    """Inside this context no other process uses the checkpoint in `folder`, which is created if necessary and may be removed inside.

    The system releases the lock when the process dies, however that happens. On a disk without locks a warning is printed.
    Raises `UserError` (checkpoint.in_use) that names the other process if it still runs after `wait` seconds, and (io.permission and
    others) for a folder that cannot be written to.
    """
    require_writable(folder)
    file = None if fcntl is None else _lock(folder, time.monotonic() + wait)
    try:
        yield
    finally:
        if file is not None:
            with suppress(OSError):  # the folder may hold a checkpoint
                if _is_current(file, folder):  # else it has gone with the checkpoint, and this is the next training's
                    (folder / LOCK).unlink()
                folder.rmdir()
            fcntl.flock(file, fcntl.LOCK_UN)  # worker processes that still end have inherited the file
            file.close()


def _lock(folder: Path, deadline: float) -> IO[str] | None:
    """The locked file; null if the disk has no locks."""
    said = False
    while True:
        file = _open(folder)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(folder)
            file.close()
            if time.monotonic() > deadline:
                raise UserError(_in_use(folder, owner)) from None
            if not said:
                print(f"waiting for {owner}, which uses the same checkpoint", flush=True)
            said = True
            time.sleep(0.2)
        except OSError as error:
            file.close()
            found, fix = error.strerror or str(error), "do not start the same training twice"
            warn(Problem("checkpoint.no_lock", str(folder), "a disk on which files can be locked", found, fix))
            return None
        else:
            if _is_current(file, folder):
                return _signed(file)
            file.close()  # the other training has finished and removed the folder


def _open(folder: Path) -> IO[str]:
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return (folder / LOCK).open("a+", encoding="utf-8")
        except FileNotFoundError:  # removed between the two lines
            continue


def _is_current(file: IO[str], folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), (folder / LOCK).stat())
    except FileNotFoundError:
        return False


def _signed(file: IO[str]) -> IO[str]:
    """Write who has the lock."""
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}")
    file.flush()
    return file


def _owner(folder: Path) -> str:
    try:
        return (folder / LOCK).read_text(encoding="utf-8") or "another process"
    except OSError:
        return "another process"


def _in_use(folder: Path, owner: str) -> Problem:
    expected, fix = "a checkpoint that no other training uses", "wait until it ends, or stop it: the same command then resumes"
    return Problem("checkpoint.in_use", str(folder), expected, owner, fix)
