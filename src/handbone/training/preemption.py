"""SIGTERM, with which schedulers and pre-emptible machines announce their end: training saves where it stands, and stops."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 128 + signal.SIGTERM  # the exit status of a process that SIGTERM has ended


class StoppedError(Exception):
    """A training that was told to end has saved where it stands: its text says where."""


class Interruption:
    """Whether the process has been told to end."""

    def __init__(self) -> None:
        self.due = False

    def _tell(self, number: int, frame: FrameType | None) -> None:
        self.due = True


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Inside, SIGTERM does not end the process at once, but says so."""
    told = Interruption()
    before = signal.signal(signal.SIGTERM, told._tell)
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)
