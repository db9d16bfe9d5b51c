"""Temporary files beside the file that they become: their names, how they are created, and how those of killed processes are removed."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import threading
from pathlib import Path

from handbone.utils.errors import Problem, UserError

HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]  # whose process numbers are those in the names of temporary files
CLOCK = 2.0  # seconds by which a process's start and a file's time may differ, as they come from different clocks
NAME_BYTES = 200  # of a file's name in the name of its temporary file, as file systems allow 255


def partial_path(path: Path) -> Path:
    """The temporary file of `path` in this thread. No other thread and no other process of any machine uses the same one."""
    return path.with_name(f".{_short(path)}.{os.getpid()}.{threading.get_native_id()}.{HOST}.partial")


def create_partial(partial: Path) -> int:
    """Create the empty file -> its mode, which the umask decides. Never through a link that has its name."""
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return os.fstat(descriptor).st_mode
    finally:
        os.close(descriptor)


def remove_dead_partials(path: Path, folder: bool = False) -> None:
    """Remove the temporary files of `path` (folder: its temporary folders) that processes of this machine left when they were killed.

    Raises `UserError` (`io.left_behind`) for one that cannot be removed.
    """
    prefix = f".{_short(path)}."
    for entry in os.listdir(path.parent):
        if not entry.startswith(prefix):
            continue
        process, *others = entry.removeprefix(prefix).removesuffix(".partial").split(".")
        here = others in ([], [HOST]) or (len(others) == 2 and others[0].isdecimal() and others[1] == HOST)  # older versions wrote less
        if not (entry.endswith(".partial") and process.isdecimal() and here):
            continue
        partial = path.with_name(entry)
        try:
            if not _is_written_by(int(process), partial):
                shutil.rmtree(partial) if folder else partial.unlink(missing_ok=True)
        except FileNotFoundError:  # its process has renamed it meanwhile
            continue
        except OSError as error:
            raise UserError(left_behind(error, partial)) from error


def left_behind(error: OSError, path: Path) -> Problem:
    """The problem of a file or folder that cannot be removed."""
    return Problem("io.left_behind", str(path), "to remove what is no longer needed", error.strerror or str(error), "remove it by hand")


def _short(path: Path) -> str:
    return os.fsencode(path.name)[:NAME_BYTES].decode(errors="ignore")


def _is_written_by(process: int, partial: Path) -> bool:
    """Whether the process is alive and older than the last write: a younger one has got the number of a process that is gone.

    The system gives numbers again, also those of threads, and from the beginning after a restart. A killed process keeps its number as a
    zombie until its parent asks for its status, which some containers do late.
    """
    import psutil  # here, as few writes find a temporary file, and `handbone --help` should not wait for it

    try:
        found = psutil.Process(process)
        return found.status() != psutil.STATUS_ZOMBIE and found.create_time() < partial.stat().st_mtime + CLOCK
    except (psutil.NoSuchProcess, OverflowError):
        return False
    except psutil.AccessDenied:  # another user's
        return True
