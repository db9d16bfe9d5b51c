"""Everybody that watches the training of one fold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator

from handbone.config.params import Params
from handbone.training.console import Console
from handbone.training.curve_file import CurveFile
from handbone.training.settings import settings_hash, training_settings
from handbone.training.status import StatusFile, status_file, status_folder
from handbone.training.tracker import Draw, Tracker
from handbone.training.watching import Watcher

KEY_DIGITS = 8  # of the fingerprint in a record's name


@contextmanager
def watched(fold: int, params: Params, accelerator: Accelerator, curve: Path, fingerprint: str, draw: Draw) -> Iterator[list[Watcher]]:
    """The watchers of a fold's training, none outside the main process; at the end of the context the status says how it ended.

    params: as in params.yaml; curve: the file of the learning curve; fingerprint: of the training, after which its record is named;
    draw: pictures for a tracker.
    """
    if not accelerator.is_main_process:
        yield []
        return
    name, classes, kind = f"fold {fold}", params.data.classes, params.machine.tracker
    status = StatusFile(status_file(status_folder(), fold), fold, settings_hash(params))
    with status.end_noted():
        watchers: list[Watcher] = [Console(name, classes), CurveFile(curve), status]
        if kind is not None:
            run, settings = f"fold_{fold}-{fingerprint[:KEY_DIGITS]}", training_settings(params) | {"fold": fold}
            watchers.append(Tracker(accelerator, kind, run, classes, settings, draw))
        yield watchers
