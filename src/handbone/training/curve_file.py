"""The learning curve as a file, complete after every epoch."""

from __future__ import annotations

from pathlib import Path

from handbone.training.state import curve_table
from handbone.training.watching import EpochReport, TrainingStart, Watcher
from handbone.utils.io import write_table


class CurveFile(Watcher):
    """Writes a CSV of `curve_table`, also when a training resumes, as DVC has removed the file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def start(self, start: TrainingStart) -> None:
        """See `Watcher`."""
        if start.rows:
            write_table(self._file, curve_table(start.rows))

    def epoch_done(self, report: EpochReport) -> None:
        """See `Watcher`."""
        write_table(self._file, curve_table(report.rows))
