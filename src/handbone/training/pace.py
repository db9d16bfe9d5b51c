"""How fast a training is, and when it will end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

RECENT = 5  # epochs and scores whose mean duration is expected of those to come


class Pace:
    """Durations of the last epochs and scores, in seconds.

    epochs, validate_every: as in `TrainParams`; images: drawn in an epoch; batches: of an epoch; clock: the time in seconds.
    """

    def __init__(self, epochs: int, validate_every: int, images: int, batches: int, clock: Callable[[], float] = monotonic) -> None:
        self._epochs, self._validate_every = epochs, validate_every
        self._images, self._batches, self._clock = images, batches, clock
        self._per_epoch, self._per_score = deque[float](maxlen=RECENT), deque[float](maxlen=RECENT)
        self._since = clock()

    def begin(self) -> None:
        """The first batch of an epoch, or the first one after a resume, is about to be trained on."""
        self._since = self._clock()

    def trained(self, batches: int) -> None:
        """So many batches have been trained on since `begin`, 1 or more, and the device has finished them."""
        self._per_epoch.append(self._passed() * self._batches / batches)

    def scored(self) -> None:
        """The model has been scored since `trained`."""
        self._per_score.append(self._passed())

    @property
    def images_per_second(self) -> float | None:
        """Of the last epoch that `trained` was called for; null before."""
        return self._images / max(self._per_epoch[-1], 1e-9) if self._per_epoch else None

    def seconds_left(self, epochs_done: int) -> float:
        """Of the epochs that are left and their scores, without an early stop."""
        left = range(epochs_done + 1, self._epochs + 1)
        scores = sum(is_scored(epoch, self._epochs, self._validate_every) for epoch in left)
        return len(left) * _mean(self._per_epoch) + scores * _mean(self._per_score)

    def _passed(self) -> float:
        before, self._since = self._since, self._clock()
        return self._since - before


def is_scored(epoch: int, epochs: int, validate_every: int) -> bool:
    """Whether the model is scored after this epoch: every so many, and after the last one."""
    return epoch % validate_every == 0 or epoch == epochs


def _mean(durations: deque[float]) -> float:
    return sum(durations) / len(durations) if durations else 0.0
