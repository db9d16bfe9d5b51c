"""Checkpoints that survive a kill. They are kept outside DVC's outs, in a folder named after everything that decides the result."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import torch

from handbone.training.checkpoint_lock import LOCK
from handbone.utils.errors import Problem, UserError, warn
from handbone.utils.file_errors import reading
from handbone.utils.hashing import file_hash
from handbone.utils.io import replacing
from handbone.utils.limits import require_space

FOOTER = b"\nsha256 "  # before the hash; torch ignores what follows its archive
FOOTER_SIZE = len(FOOTER) + 64
BLOCK = 2**20  # bytes


def run_fingerprint(settings: Mapping[str, Any], files: Mapping[str, Path]) -> str:
    """Hash of settings and files: two trainings share it only if they would end with the same weights.

    files: by a name that does not depend on the machine; the name and the content are hashed, the path is not.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, file in sorted(files.items()):
        digest.update(f"{name}:{file_hash(file)}".encode())
    return digest.hexdigest()[:24]


def resume_folder(base: str | None, key: str) -> Path:
    """The folder of the checkpoint `key` in `base` (`machine.resume_dir`); null: in DVC's folder for temporary files.

    Under `dvc exp run --temp` DVC_ROOT is the repository in which the user called DVC, so a checkpoint outlives the temporary copy.
    """
    return (Path(base) if base else Path(os.environ.get("DVC_ROOT", ".")) / ".dvc" / "tmp" / "resume") / key


class Checkpoint:
    """The latest state of one training: a file on disk that ends in its hash, so that a damaged or foreign one is never resumed from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "last.pt"

    def require_space(self, size: int, others: Mapping[Path, int]) -> None:
        """Raise `UserError` (io.disk_full) if there is no space for two states of `size` bytes, the old and the new one.

        others: bytes that will be written to other folders, perhaps on the same disk.
        """
        saved = self._file.stat().st_size if self._file.is_file() else 0
        fix = "free some space, or set machine.resume_dir to a folder on another disk"
        require_space({self._folder: max(size, 2 * size - saved), **others}, fix)

    def saved_at(self) -> datetime | None:
        """When the state was saved, in local time; null if there is none."""
        return datetime.fromtimestamp(self._file.stat().st_mtime).astimezone() if self._file.is_file() else None

    def load(self) -> dict[str, Any] | None:
        """The saved state, null if there is none. It reads tensors and plain values only; nothing is unpickled.

        Raises `UserError` for a file that is not as this training wrote it (`checkpoint.corrupt`) or holds anything else than a state
        (`checkpoint.unreadable`).
        """
        if not self._file.is_file():
            return None
        with reading(self._file), self._file.open("rb") as file:  # opened once: another state may replace this one meanwhile
            size = max(0, os.fstat(file.fileno()).st_size - FOOTER_SIZE)
            if self._footer(file, size) != file.read():
                raise self._error("checkpoint.corrupt", "a file that does not end in the hash of its content and of this training")
            file.seek(0)
            try:
                state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            except (RuntimeError, EOFError, UnpicklingError) as error:
                raise self._error("checkpoint.unreadable", (str(error).splitlines() or ["an empty file"])[0]) from None
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state; after a kill or a power cut the file holds the old state or the new one, never half of it."""
        with replacing(self._file, durable=True) as partial, partial.open("wb+") as file:
            torch.save(state, file)  # not the path, whose name torch would write into it
            size = file.tell()
            file.seek(0)
            file.write(self._footer(file, size))

    def remove(self) -> None:
        """Delete the state: the training is finished. Other files in the folder stay, and the folder with them.

        A state that cannot be deleted is a warning, as the result of the training is complete.
        """
        try:
            for file in (self._file, self._folder / LOCK):
                file.unlink(missing_ok=True)
        except OSError as error:
            fix = "remove it yourself; it takes space and nothing else"
            warn(Problem("checkpoint.left", str(self._file), "to remove the checkpoint of a finished training", str(error), fix))
        with suppress(OSError):  # it is gone, or it has files of another process
            self._folder.rmdir()

    def _footer(self, file: IO[bytes], size: int) -> bytes:
        """Read the first `size` bytes of the file -> what follows them: their hash, together with the name of this training."""
        digest = hashlib.sha256(self._folder.name.encode())
        while size > 0 and (block := file.read(min(size, BLOCK))):
            digest.update(block)
            size -= len(block)
        return FOOTER + digest.hexdigest().encode()

    def _error(self, code: str, found: str) -> UserError:
        fix = "remove it, and the training starts from the first epoch"
        return UserError(Problem(code, str(self._file), "the checkpoint that this training wrote", found, fix))
