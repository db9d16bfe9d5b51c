"""What a training tells to those that watch it. Nothing that they do changes a bit of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command that shows the status reads its files without PyTorch, which takes seconds to import
    from torch import nn

    from handbone.training.state import CurveRow


@dataclass(frozen=True)
class TrainingStart:
    """A training that is about to begin, or to resume.

    resumed: from a checkpoint; rows: the learning curve so far; epochs: those of the whole training; batches: of an epoch;
    batches_done: of the current epoch; best_dice: -1 without a score; device: its name.
    """

    resumed: bool
    rows: Sequence[CurveRow]
    epochs: int
    batches: int
    batches_done: int
    best_epoch: int
    best_dice: float
    device: str


@dataclass(frozen=True)
class EpochReport:
    """A finished epoch.

    rows: the learning curve so far, the last row is this epoch's; class_dice: C means over the held-out images, null in epochs without a
    score; images_per_second: trained on, without the score, null if a resume left none; memory: peak bytes of the GPU, on a CPU those of
    this process; seconds_left: expected; model: the averaged one, to be read only and not after the call.
    """

    rows: Sequence[CurveRow]
    best_epoch: int
    best_dice: float
    class_dice: Sequence[float] | None
    images_per_second: float | None
    memory: int
    seconds_left: float
    model: nn.Module


class Watcher:
    """Follows one training in its main process. Each method does nothing unless a subclass says what."""

    def start(self, start: TrainingStart) -> None:
        """Called once, before the first batch."""

    def batch_done(self, epoch: int, batch: int) -> None:
        """Called after each batch, when the device may still work on it. epoch: the current one, from 1; batch: how many of it are done."""

    def epoch_done(self, report: EpochReport) -> None:
        """Called after each epoch and its score."""

    def close(self) -> None:
        """Called at the end, however the training ends."""


class Watchers(Watcher):
    """Several watchers as one, and a context that closes them."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers

    def start(self, start: TrainingStart) -> None:
        """See `Watcher`."""
        for watcher in self._watchers:
            watcher.start(start)

    def batch_done(self, epoch: int, batch: int) -> None:
        """See `Watcher`."""
        for watcher in self._watchers:
            watcher.batch_done(epoch, batch)

    def epoch_done(self, report: EpochReport) -> None:
        """See `Watcher`."""
        for watcher in self._watchers:
            watcher.epoch_done(report)

    def close(self) -> None:
        """See `Watcher`."""
        for watcher in self._watchers:
            watcher.close()

    def __enter__(self) -> Watchers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
