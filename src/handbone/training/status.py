"""What each fold's training is doing, in small files that `handbone status` reads while DVC runs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import psutil
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from handbone.training.watching import EpochReport, TrainingStart, Watcher
from handbone.utils.errors import Problem, UserError, warn
from handbone.utils.io import read_json, write_json

State = Literal["running", "done", "interrupted", "failed"]
EVERY = 5.0  # seconds between two states within an epoch
CLOCKS = 2.0  # seconds by which two readings of a process's start may differ


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class FoldStatus:
    """One fold's training. Null is what is not known yet.

    settings: see `settings_hash`; process, process_start: its id, and when it started in seconds since 1970; host: the machine;
    epoch, batch: done, batch of the current epoch; dice: the last score; memory: bytes, see `EpochReport`; started, written, ends: local
    times in ISO 8601; message: why it failed or where it was interrupted.
    """

    fold: int
    state: State
    settings: str
    process: int
    process_start: float
    host: str
    started: str
    written: str
    device: str | None = None
    epoch: int = 0
    epochs: int | None = None
    batch: int = 0
    batches: int | None = None
    loss: float | None = None
    dice: float | None = None
    best_dice: float | None = None
    best_epoch: int | None = None
    images_per_second: float | None = None
    memory: int | None = None
    ends: str | None = None
    message: str | None = None

    @classmethod
    def of_this_process(cls, fold: int, settings: str) -> FoldStatus:
        """A training that this process starts now."""
        start = psutil.Process().create_time()
        return cls(fold, "running", settings, os.getpid(), start, platform.node(), _time(), _time())

    @classmethod
    def load(cls, file: Path) -> FoldStatus:
        """Raises `UserError` (status.file) for a file that no training wrote, or another version of this program."""
        document = read_json(file)
        try:
            return TypeAdapter(cls).validate_json(json.dumps(document))
        except ValidationError as error:
            found = ", ".join(".".join(map(str, one["loc"])) or one["msg"] for one in error.errors()[:5])
            fix = "remove it; the next training writes it again"
            raise UserError(Problem("status.file", str(file), "the state of a training", f"faults in {found}", fix)) from None

    def checked(self) -> FoldStatus:
        """A training that says it is running is interrupted if its process on this machine has gone. Other machines are believed."""
        if self.state != "running" or self.host != platform.node() or _runs(self.process, self.process_start):
            return self
        return replace(self, state="interrupted", ends=None, message="its process was killed; the same command resumes")


class StatusFile(Watcher):
    """Writes the status of one training, at most every `EVERY` seconds within an epoch. A disk that refuses it is a warning."""

    def __init__(self, file: Path, fold: int, settings: str, clock: Callable[[], float] = monotonic) -> None:
        self._file, self._clock, self._last, self._works = file, clock, clock(), True
        self.status = FoldStatus.of_this_process(fold, settings)
        self._write()

    def start(self, start: TrainingStart) -> None:
        """See `Watcher`."""
        scores = [row["dice"] for row in start.rows if row["dice"] is not None]
        last = {"loss": start.rows[-1]["loss"]} if start.rows else {}
        best = {"dice": scores[-1], "best_dice": start.best_dice, "best_epoch": start.best_epoch} if scores else {}
        position = {"epoch": len(start.rows), "epochs": start.epochs, "batch": start.batches_done, "batches": start.batches}
        self._write(device=start.device, **position, **last, **best)

    def batch_done(self, epoch: int, batch: int) -> None:
        """See `Watcher`."""
        self.status = replace(self.status, epoch=epoch - 1, batch=batch)
        if self._clock() - self._last >= EVERY:
            self._write()

    def epoch_done(self, report: EpochReport) -> None:
        """See `Watcher`."""
        row = report.rows[-1]
        scored = {"dice": row["dice"], "best_dice": report.best_dice, "best_epoch": report.best_epoch} if report.class_dice else {}
        ends = _time(report.seconds_left)
        speed = {"images_per_second": report.images_per_second, "memory": report.memory, "ends": ends}
        self._write(epoch=row["epoch"], batch=0, loss=row["loss"], **scored, **speed)

    @contextmanager
    def end_noted(self) -> Iterator[None]:
        """At the end of this context the file says how it ended: done, interrupted by a signal, or failed and why."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit) as stop:
            self._write(state="interrupted", ends=None, message=_first_line(stop))
            raise
        except BaseException as error:
            self._write(state="failed", ends=None, message=_first_line(error))
            raise
        self._write(state="done", ends=None)

    def _write(self, **changes: Any) -> None:
        self.status = replace(self.status, written=_time(), **changes)
        self._last = self._clock()
        if not self._works:
            return
        try:
            write_json(self._file, asdict(self.status))
        except UserError as error:
            self._works = False
            warn(*error.problems)


def status_folder() -> Path:
    """Where the trainings of this working tree write their status; those of `dvc exp run --temp` and of a queue write to a folder of
    their experiment, in the repository in which the user called DVC, as they run in a copy that DVC removes.
    """
    root = Path(os.environ.get("DVC_ROOT", "."))
    folder = root / ".dvc" / "tmp" / "status"
    inside = root.resolve() == Path.cwd().resolve()
    return folder if inside else folder / "experiments" / os.environ.get("DVC_EXP_NAME", "unnamed")


def status_file(folder: Path, fold: int) -> Path:
    """The file of one fold's status."""
    return folder / f"fold_{fold}.json"


def experiments(folder: Path) -> dict[str, list[FoldStatus]]:
    """By the name of each experiment that runs in a copy of the repository, the folds that are in training."""
    found: dict[str, list[FoldStatus]] = {}
    for file in sorted(folder.glob("experiments/*/fold_*.json")):
        status = FoldStatus.load(file).checked()
        if status.state == "running":
            found.setdefault(file.parent.name, []).append(status)
    return found


def _time(seconds: float = 0.0) -> str:
    """The local time in so many seconds."""
    return (datetime.now().astimezone() + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def _first_line(error: BaseException) -> str:
    """What it says, or its type."""
    text = next((line for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return f"stopped with exit status {error.code}; the same command resumes"
    return text[:500] or type(error).__name__


def _runs(process: int, start: float) -> bool:
    """Whether the process still is the one that started then: the system gives numbers of ended processes to others."""
    try:
        found = psutil.Process(process)
        return abs(found.create_time() - start) < CLOCKS and found.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
