"""Signals that ask a training to end: it finishes its step, writes a checkpoint and stops.

SIGTERM announces that a scheduler takes the machine away, or that DVC has ended; SIGINT is Ctrl-C; SIGHUP is a terminal that is closed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from handbone.utils.ending import STOP_SIGNALS, end_at_once_on_interrupt

# a score or a large batch takes its time, so Ctrl-C answers at once
INTERRUPTED = b"\nCtrl-C: the training saves its state and ends after this step or score; a second Ctrl-C ends it at once\n"


class Preempted(Exception):  # noqa: N818 - it ends a training on request, it is no error
    """Raised after a signal once a checkpoint is written; the message names the step, `signal` the signal."""

    def __init__(self, position: str, number: signal.Signals) -> None:
        super().__init__(position)
        self.signal = number

    @property
    def exit_code(self) -> int:
        """The exit status that a shell reports for a process ended by the signal."""
        return 128 + self.signal


@contextmanager
def exit_when_preempted(name: str, say: Callable[[str], None]) -> Iterator[None]:
    """Turn `Preempted` into the end of the process, after a line about the training `name`."""
    try:
        yield
    except Preempted as stop:
        say(f"\n{name}: stopped by {stop.signal.name}, saved at {stop}; the same command resumes there")
        sys.exit(stop.exit_code)


class PreemptionFlag:
    """Whether one of the signals has arrived, and the first that did."""

    def __init__(self) -> None:
        self.is_set = False
        self.signal = signal.SIGTERM  # also where another process of the same training got the signal

    def _set(self, number: int, frame: FrameType | None) -> None:
        if not self.is_set:
            self.is_set, self.signal = True, signal.Signals(number)
            if number == signal.SIGINT and os.environ.get("RANK", "0") == "0":
                os.write(2, INTERRUPTED)  # print might be what the signal has interrupted
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
