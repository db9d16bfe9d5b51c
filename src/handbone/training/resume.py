"""Checkpoints that survive a kill. They lie outside DVC's outs, in a folder named after everything that decides the result."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from handbone.hashing import file_hash


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
        return torch.load(self._file, map_location="cpu", weights_only=True) if self._file.is_file() else None

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state; a kill leaves the old one or the new one, never half of it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(f".{os.getpid()}.partial")
        torch.save(state, partial)
        os.replace(partial, self._file)

    def remove(self) -> None:
        """Forget the state: the training is over."""
        shutil.rmtree(self._folder, ignore_errors=True)
