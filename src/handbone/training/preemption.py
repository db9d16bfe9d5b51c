"""Signals that ask a training to end: it finishes its step, writes a checkpoint and stops.

SIGTERM announces that a scheduler takes the machine away, or that DVC has ended; SIGINT is Ctrl-C; SIGHUP is a terminal that is closed.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from handbone.utils.ending import STOP_SIGNALS, end_at_once_on_interrupt


class Preempted(Exception):  # noqa: N818 - it ends a training on request, it is no error
    """Raised after a signal once a checkpoint is written; the message names the step, `signal` the signal."""

    def __init__(self, position: str, number: signal.Signals) -> None:
        super().__init__(position)
        self.signal = number

    @property
    def exit_code(self) -> int:
        """The exit status that a shell reports for a process ended by the signal."""
        return 128 + self.signal


class PreemptionFlag:
    """Whether one of the signals has arrived, and the first that did."""

    def __init__(self) -> None:
        self.is_set = False
        self.signal = signal.SIGTERM  # also where another process of the same training got the signal

    def _set(self, number: int, frame: FrameType | None) -> None:
        if not self.is_set:
            self.is_set, self.signal = True, signal.Signals(number)
        if number == signal.SIGINT:
            end_at_once_on_interrupt()  # at the second Ctrl-C


@contextmanager
def preemption() -> Iterator[PreemptionFlag]:
    """Inside this context SIGTERM, SIGINT and SIGHUP set the flag instead of ending the process; afterwards the previous handlers are back.

    A second Ctrl-C ends the process at once. Signals that are ignored, as under nohup, stay ignored.
    """
    flag = PreemptionFlag()
    numbers = [number for number in [*STOP_SIGNALS, signal.SIGINT] if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, flag._set) for number in numbers}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
