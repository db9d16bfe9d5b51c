"""Files of the data set: bounded reading of regular files, and names that can be printed."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path

from handbone.utils.errors import Problem, UserError

REPLACE = "replace the file, or name the sample in data.exclude"


def read_file(path: Path, code: str, limit: int, expected: str) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises `UserError` with `code` for anything else: reading a named pipe would wait for ever, and a device has no end.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(Problem(code, printable(path), expected, _kind(status.st_mode), REPLACE))
        if status.st_size > limit:
            raise UserError(Problem(code, printable(path), expected, f"more than {limit >> 20} MiB", REPLACE))
        with path.open("rb") as file:
            return file.read(status.st_size)
    except OSError as error:
        raise UserError(Problem(code, printable(path), expected, error.strerror or type(error).__name__, REPLACE)) from error


def unreadable(path: Path, error: Exception) -> Problem:
    """Any unexpected exception while a file of the data set is read, as a fault of this file: the faults of other files count too."""
    found = f"{type(error).__name__}: {error}"[:200].rstrip(": ")
    fix = REPLACE
    if isinstance(error, MemoryError):
        fix = "set machine.preprocess_workers or preprocess.max_pixels lower, or name the sample in data.exclude"
    return Problem("sample.unreadable", printable(path), "a file that can be read", found, fix)


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8 without control characters, so that every table and page can hold it."""
    return not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)


def printable(path: Path) -> str:
    """The path as printable text; bytes that are no UTF-8 and control characters as escapes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(letter if is_text(letter) else letter.encode("unicode_escape").decode() for letter in text)


def _kind(mode: int) -> str:
    kinds = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a named pipe", stat.S_ISSOCK: "a socket"}
    return next((name for test, name in kinds.items() if test(mode)), "a device")
