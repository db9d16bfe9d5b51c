"""SIGTERM, by which schedulers announce that a machine will be taken away: training writes a checkpoint and stops."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PREEMPTED_EXIT_CODE = 128 + signal.SIGTERM  # the exit status that a shell reports for a process ended by SIGTERM


class Preempted(Exception):  # noqa: N818 - it ends a training on request, it is no error
    """Raised after SIGTERM once a checkpoint is written; the message names the step."""


class PreemptionFlag:
    """Whether SIGTERM has arrived."""

    def __init__(self) -> None:
        self.is_set = False

    def _set(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True


@contextmanager
def preemption() -> Iterator[PreemptionFlag]:
    """Inside this context SIGTERM sets the flag instead of ending the process; afterwards the previous handler is back."""
    flag = PreemptionFlag()
    before = signal.signal(signal.SIGTERM, flag._set)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGTERM, before)
