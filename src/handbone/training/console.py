"""A training on the terminal and in log files: a bar that moves with every batch, and a line per epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from tqdm import tqdm

from handbone.training.estimate import clock_time
from handbone.training.watching import EpochReport, TrainingStart, Watcher

WORST = 3  # classes that a line names
LINE_EVERY = 60.0  # seconds from which on an epoch without a score has a line, too


class Console(Watcher):
    """One bar over all batches of a training, on a terminal only; and a line after each score, or once a minute where scores are rare.

    name: of the training, e.g. `fold 0`; classes: C names; clock: the time in seconds.
    """

    def __init__(self, name: str, classes: Sequence[str], clock: Callable[[], float] = monotonic) -> None:
        self._name, self._classes, self._clock = name, classes, clock
        self._start: TrainingStart | None = None
        self._bar: tqdm[Any] | None = None  # from the first batch on, as lines are printed before
        self._epoch = 0
        self._last_line = clock()

    def start(self, start: TrainingStart) -> None:
        """See `Watcher`."""
        self._start = start

    def batch_done(self, epoch: int, batch: int) -> None:
        """See `Watcher`."""
        assert self._start is not None
        done = (epoch - 1) * self._start.batches + batch
        if self._bar is None:
            # null: no bar where stderr is no terminal; smoothing 0: the mean of all batches, with the scores between them
            total = self._start.epochs * self._start.batches
            self._bar = tqdm(desc=self._name, total=total, initial=done - 1, unit="batch", disable=None, smoothing=0, dynamic_ncols=True)
        if epoch != self._epoch:
            self._epoch = epoch
            self._bar.set_description_str(f"{self._name}: epoch {epoch}/{self._start.epochs}", refresh=False)
        self._bar.update(done - self._bar.n)

    def epoch_done(self, report: EpochReport) -> None:
        """See `Watcher`."""
        assert self._start is not None
        if self._bar is not None:
            best = {} if report.best_dice < 0 else {"best": f"{report.best_dice:.4f}"}
            self._bar.set_postfix({"loss": report.rows[-1]["loss"], **best}, refresh=False)
        if report.class_dice is None and self._clock() - self._last_line < LINE_EVERY:
            return
        self._last_line = self._clock()
        with tqdm.external_write_mode():
            print(f"{self._name}: {format_epoch(report, self._start.epochs, self._classes)}", flush=True)

    def close(self) -> None:
        """See `Watcher`."""
        if self._bar is not None:
            self._bar.close()


def format_epoch(report: EpochReport, epochs: int, classes: Sequence[str]) -> str:
    """An epoch in one line: loss, and where it was scored the Dice, the best so far and the worst classes; speed and expected end."""
    row = report.rows[-1]
    parts = [f"epoch {row['epoch']}/{epochs}: loss {_number(row['loss'])}"]
    if report.class_dice is not None:
        best = "the best" if report.best_epoch == row["epoch"] else f"best {report.best_dice:.4f} after epoch {report.best_epoch}"
        parts.append(f"Dice {_number(row['dice'])} ({best})")
        parts.append(f"worst {', '.join(f'{name} {dice:.2f}' for name, dice in worst_classes(report.class_dice, classes))}")
    if report.images_per_second is not None:
        parts.append(f"{report.images_per_second:.3g} images/s")
    if row["epoch"] != epochs:
        parts.append(f"until {clock_time(report.seconds_left)}")
    return "; ".join(parts)


def worst_classes(class_dice: Sequence[float], classes: Sequence[str]) -> list[tuple[str, float]]:
    """The names and Dice of the few worst classes, the worst one first."""
    return sorted(zip(classes, class_dice, strict=True), key=lambda pair: pair[1])[:WORST]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
