"""A training in an experiment tracker: numbers of every epoch, and pictures of the same held-out images at every score."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from handbone.training.records import RECORDS, Picture, Record
from handbone.training.seeding import kernels_without_search
from handbone.training.watching import EpochReport, TrainingStart, Watcher
from handbone.utils.errors import Problem, UserError, warn

Draw = Callable[[nn.Module], Mapping[str, Picture]]  # the averaged model -> pictures of a few held-out images by key
PLACE = "params.yaml: machine.tracker"


def require_tracker(kind: str | None) -> None:
    """Raise `UserError` (tracker.missing) if the package of this tracker is not installed. kind: as `machine.tracker`."""
    if kind is not None and find_spec(kind) is None:
        fix = f"pip install {kind}, or set it to null, which records nothing"
        raise UserError(Problem("tracker.missing", PLACE, f"the package {kind}", "none that Python finds", fix))


def record_folder(kind: str) -> Path:
    """Where records of this kind are kept: in the repository in which the user called DVC, also if a copy of it is trained in."""
    return Path(os.environ.get("DVC_ROOT", ".")) / "logs" / kind


class Tracker(Watcher):
    """Records a training; a tracker that fails in the middle of it is a warning, and the training continues.

    kind: a key of `RECORDS`, for which the accelerator was made; run: the name of the record; classes: C names; settings: the parameters.
    """

    def __init__(
        self, accelerator: Accelerator, kind: str, run: str, classes: Sequence[str], settings: Mapping[str, Any], draw: Draw
    ) -> None:
        self._accelerator, self._kind, self._run, self._draw = accelerator, kind, run, draw
        self._classes, self._settings = _metric_names(classes), _flat(settings)
        self._record: Record | None = None

    def start(self, start: TrainingStart) -> None:
        """Raises `UserError` (tracker.start) if the tracker does not start, e.g. because it wants a login."""
        try:
            folder = record_folder(self._kind)
            record = RECORDS[self._kind](folder, self._run, start.resumed, len(start.rows) + 1)
            self._accelerator.project_configuration.logging_dir = str(folder)
            self._accelerator.init_trackers(record.project, init_kwargs={self._kind: record.options()})
            (tracker,) = self._accelerator.trackers
            record.add_settings(tracker, self._settings)
        except Exception as error:
            fix = "correct what it names, or set machine.tracker to null, which records nothing"
            raise UserError(Problem("tracker.start", PLACE, f"{self._kind} to start", _first_line(error), fix)) from error
        self._record = record

    def epoch_done(self, report: EpochReport) -> None:
        """See `Watcher`."""
        epoch = int(report.rows[-1]["epoch"] or 0)
        if self._record is None or self._record.has(epoch):
            return
        (tracker,) = self._accelerator.trackers
        try:
            if report.class_dice is not None:  # first, as some trackers close a step with its numbers
                with kernels_without_search():
                    drawn = self._draw(report.model)
                pictures = {f"held_out/{_safe(key)}": picture for key, picture in drawn.items()}
                self._record.add_pictures(tracker, pictures, epoch)
            tracker.log(self._values(report), step=epoch)
        except Exception as error:
            self._record = None
            warn(Problem("tracker.failed", PLACE, f"{self._kind} to record epoch {epoch}", _first_line(error), "the training continues"))

    def close(self) -> None:
        """See `Watcher`."""
        while self._accelerator.trackers:
            try:
                self._accelerator.trackers.pop().finish()
            except Exception as error:
                warn(Problem("tracker.failed", PLACE, f"{self._kind} to finish its record", _first_line(error), "the record may be cut"))

    def _values(self, report: EpochReport) -> dict[str, float]:
        row = report.rows[-1]
        values = {"loss": row["loss"], "lr": row["lr"], "images_per_second": report.images_per_second, "memory_gib": report.memory / 2**30}
        if report.class_dice is not None:
            values |= {"dice": row["dice"], "best_dice": report.best_dice}
            values |= {f"dice_per_class/{name}": dice for name, dice in zip(self._classes, report.class_dice, strict=True)}
        return {name: float(value) for name, value in values.items() if value is not None}


def _metric_names(classes: Sequence[str]) -> list[str]:
    """The classes as names that every tracker accepts, and that are file names; with their numbers if two would be equal."""
    names = [_safe(name) for name in classes]
    return names if len(set(names)) == len(names) else [f"{number:02d}_{name}" for number, name in enumerate(names)]


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Sections as dotted names; lists and null as text."""
    flat: dict[str, str | int | float | bool] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value if isinstance(value, (str, int, float, bool)) else str(value)
    return flat


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
