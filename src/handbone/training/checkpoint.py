"""Checkpoints that survive a kill. They lie outside DVC's outs, in a folder named after everything that decides the result."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from handbone.utils.errors import UserError
from handbone.utils.hashing import file_hash


def content_key(decisive: dict[str, Any], files: list[Path]) -> str:
    """Hash of settings and files: two trainings share it only if they would end in the same weights."""
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    for file in sorted(files):
        digest.update(f"{file.name}:{file_hash(file)}".encode())
    return digest.hexdigest()[:24]


def resume_folder(base: str | None, key: str) -> Path:
    """`base`, or the folder that DVC keeps for its own; under `dvc exp run --temp` DVC_ROOT is the repository it was started from."""
    return (Path(base) if base else Path(os.environ.get("DVC_ROOT", ".")) / ".dvc" / "tmp" / "resume") / key


class Checkpoint:
    """The latest state of one training."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "last.pt"

    def load(self) -> dict[str, Any] | None:
        """The state saved last, None if there is none. Only tensors and plain values are read: nothing is unpickled."""
        if not self._file.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self._file, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, UnpicklingError) as error:
            told = (str(error).splitlines() or ["an empty file"])[0]
            raise UserError(f"{self._file}: expected a checkpoint; found {told}; remove it, and the training begins anew") from None
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state; a kill leaves the old one or the new one, never half of it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the new name with nothing in it
        os.replace(partial, self._file)

    def remove(self) -> None:
        """Forget the state: the training is over."""
        shutil.rmtree(self._folder, ignore_errors=True)
