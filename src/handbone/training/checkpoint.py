"""Checkpoints that survive a kill. They are kept outside DVC's outs, in a folder named after everything that decides the result."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from handbone.utils.errors import Problem, UserError
from handbone.utils.hashing import file_hash
from handbone.utils.io import replacing


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
    """The latest state of one training, a file on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "last.pt"

    def load(self) -> dict[str, Any] | None:
        """The saved state, null if there is none. It reads tensors and plain values only; nothing is unpickled.

        Raises `UserError` (checkpoint.unreadable) for a file that is damaged or holds anything else.
        """
        if not self._file.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self._file, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, UnpicklingError) as error:
            found = (str(error).splitlines() or ["an empty file"])[0]
            fix = "remove it, and the training starts from the first epoch"
            raise UserError(Problem("checkpoint.unreadable", str(self._file), "a checkpoint", found, fix)) from None
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state; after a kill or a power cut the file holds the old state or the new one, never half of it."""
        with replacing(self._file, durable=True) as partial:
            torch.save(state, partial)

    def remove(self) -> None:
        """Delete the state: the training is finished."""
        shutil.rmtree(self._folder, ignore_errors=True)
