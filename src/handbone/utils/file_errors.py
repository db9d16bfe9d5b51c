"""What the operating system says about files (no space, no permission, no folder) as errors for users."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from handbone.utils.errors import Problem, UserError, require_file

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
NO_FOLDER = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP}
LARGE = 10**7  # bytes of a file; of smaller ones an error does not give the size, so that those of many files are equal and one line
FULL_DISK = 2**20  # bytes; with less free space a writer that hides the system's error has failed because of it


def file_problem(error: OSError, path: Path, written: int = 0) -> Problem:
    """The problem of writing or reading `path`. written: bytes of the file that are on the disk already."""
    reason = error.strerror or str(error)
    if error.errno in NO_SPACE:
        after = f", after {size_text(written)} of this file" if written >= LARGE else ""
        found = f"{reason}: {size_text(free_space(path))} free{after}"
        fix = f"free space on the disk of {path.parent}, or move the project to a larger disk, and run the same command again"
        return Problem("io.disk_full", str(path), f"room for the file in {path.parent}", found, fix)
    if error.errno in DENIED:
        fix = f"give yourself the permission for {path.parent} and its files (ls -la shows it, chmod and chown change it)"
        return Problem("io.permission", str(path), f"permission to use the file in {path.parent}", reason, fix)
    if error.errno in NO_FOLDER:
        at = error.filename if isinstance(error.filename, str) else path
        fix = "rename or remove what is in the way, or create the folder"
        return Problem("io.folder", str(path), f"the folder {path.parent}, and no folder at {path.name} itself", f"{at}: {reason}", fix)
    return Problem("io.failed", str(path), "a disk that works", reason, "check the disk, and run the same command again")


def free_space(path: Path) -> int:
    """Free bytes on the disk of `path`, which need not exist."""
    return shutil.disk_usage(nearest_existing(path.parent)).free


def nearest_existing(path: Path) -> Path:
    """The path, or its nearest parent that exists."""
    return next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())


def size_text(count: float) -> str:
    """Bytes for people to read."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def is_about(error: OSError, *paths: Path) -> bool:
    """Whether the system's error is about one of these files or their folders. Errors of a write name no file."""
    names = {str(name) for name in (error.filename, error.filename2) if name is not None}
    if names:
        return bool(names & {str(place) for path in paths for place in (path, *path.parents)})
    return error.errno in NO_SPACE | {errno.EIO}


def hidden_disk_error(error: Exception, path: Path) -> OSError | None:
    """The system's error of a failed write behind an exception of safetensors or torch, which do not pass it on as such."""
    text = f"{error} {error.__context__ or ''}"  # torch fails once more while it closes the file
    if match := re.search(r"os error (\d+)|code: (\d+)", text):  # Rust's words
        number = int(match[1] or match[2])
        return OSError(number, os.strerror(number))
    if "failed writing" in text:  # torch's
        return OSError(errno.ENOSPC, "no space") if free_space(path) < FULL_DISK else OSError(errno.EIO, text[:200])
    return None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise `UserError` if `path` is no file, and for what the system says while it is read in the block."""
    require_file(path)
    try:
        yield
    except OSError as error:
        raise UserError(file_problem(error, path)) from error


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a file. Raises `UserError` as `reading` does, and for more than `limit` bytes, before they take memory."""
    with reading(path), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size  # of this file, even if another has replaced it by now
        if size > limit:
            expected, found = f"at most {size_text(limit)}", size_text(size)
            raise UserError(Problem("io.too_large", str(path), expected, found, "check where the file comes from"))
        return file.read(size)
