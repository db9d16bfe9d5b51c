"""Temporary files beside the file that they become: their names, how they are created, and how those of killed processes are removed."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

from handbone.utils.errors import Problem, UserError

HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]  # whose process numbers are those in the names of temporary files
NAME_BYTES = 200  # of a file's name in the name of its temporary file, as file systems allow 255


def partial_path(path: Path) -> Path:
    """The temporary file of `path` in this process. No other process of any machine uses the same one."""
    return path.with_name(f".{_short(path)}.{os.getpid()}.{HOST}.partial")


def create_partial(partial: Path) -> int:
    """Create the empty file -> its mode, which the umask decides. Never through a link that has its name."""
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return os.fstat(descriptor).st_mode
    finally:
        os.close(descriptor)


def remove_dead_partials(path: Path) -> None:
    """Remove the temporary files of `path` that processes of this machine left when they were killed.

    Raises `UserError` (`io.left_behind`) for one that cannot be removed.
    """
    prefix = f".{_short(path)}."
    for entry in os.listdir(path.parent):
        if not entry.startswith(prefix):
            continue
        process, *host = entry.removeprefix(prefix).removesuffix(".partial").split(".")
        if entry.endswith(".partial") and process.isdecimal() and host in ([], [HOST]) and not _is_alive(int(process)):
            try:
                path.with_name(entry).unlink(missing_ok=True)
            except OSError as error:
                raise UserError(left_behind(error, path.with_name(entry))) from error


def left_behind(error: OSError, path: Path) -> Problem:
    """The problem of a file or folder that cannot be removed."""
    return Problem("io.left_behind", str(path), "to remove what is no longer needed", error.strerror or str(error), "remove it by hand")


def _short(path: Path) -> str:
    return path.name.encode()[:NAME_BYTES].decode(errors="ignore")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True
