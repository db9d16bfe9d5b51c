"""How a process ends before its work is done: on a signal, or with the process that started it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import UnsupportedOperation
from pathlib import Path
from types import FrameType

import psutil

INTERRUPTED = 128 + signal.SIGINT  # the exit status that a shell reports for a process ended by Ctrl-C
CLOSED_PIPE = 128 + signal.SIGPIPE  # and for one whose output nobody reads any more, as after `| head -1`
STOP_SIGNALS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]  # from schedulers; from a terminal that is closed
REPORTS = "HANDBONE_REPORTS"  # environment variable: a folder in which the processes of one launch note the errors they have printed
SHELLS = {"sh", "ash", "bash", "busybox", "dash", "fish", "ksh", "zsh"}
POLL = 0.5  # seconds between two looks at the parent
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None  # loaded here, as little is safe after a fork


@contextmanager
def stop_signals() -> Iterator[None]:
    """Inside this context, SIGTERM and SIGHUP raise SystemExit, so that temporary files are removed.

    The end of the process that started this one (`LAUNCHERS`) counts as SIGTERM: a stage does not outlive its DVC. Signals that the
    parent has set to be ignored, as nohup does, stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as during the first imports, where Ctrl-C ends it without a word
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = {number: signal.signal(number, _exit) for number in STOP_SIGNALS if signal.getsignal(number) is signal.SIG_DFL}
    if LAUNCHERS:
        _watch(LAUNCHERS, lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_at_once_on_interrupt() -> None:
    """From now on Ctrl-C ends the process at once and without a traceback."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def drop_output() -> bool:
    """Whether what was printed cannot be written, as into a pipe whose reader has ended.

    Then it is dropped, and so is what follows: Python would try again at its end, complain and return another exit status.
    """
    dropped = False
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
            cannot_write = _has_no_reader(stream.fileno())
        except UnsupportedOperation:  # no file, as in a notebook
            continue
        except OSError:
            cannot_write = True
        if cannot_write:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            dropped = True
    return dropped


def _has_no_reader(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Signals that arrive inside this context are handled at its end. Processes that are started inside never see Ctrl-C.

    An exception halfway through the start of a process would leave one that has no owner; a terminal sends Ctrl-C to all processes.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    arrived: list[int] = []
    numbers = [number for number in [signal.SIGINT, *STOP_SIGNALS] if callable(signal.getsignal(number))]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # new processes inherit this, unlike handlers
    # handlers, too: of the other threads some block nothing, and Python runs handlers in the main thread whichever got the signal
    before = {number: signal.signal(number, lambda given, _: arrived.append(given)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for given in arrived:
            signal.raise_signal(given)


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Let this process end with its parent, whose process id is `parent`, however that ends.

    On Linux the system sends the signal `number`; elsewhere a thread looks for the parent and ends this process.
    """
    if LIBC is None:
        _watch({os.getpid(): parent}, lambda: os._exit(1))
        return
    LIBC.prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # it ended before the call
        os.kill(os.getpid(), number)


def is_first_report(text: str) -> bool:
    """Whether no other process of the same launch has printed this error. Without a launcher that is always so."""
    folder = os.environ.get(REPORTS)
    if folder is None:
        return True
    try:
        (Path(folder) / hashlib.sha256(text.encode()).hexdigest()).open("x").close()
    except FileExistsError:
        return False
    except OSError:  # better twice than never
        return True
    return True


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _launchers() -> dict[int, int]:
    """Parent by process id: of this process, and of the shell through which DVC may have started it.

    Empty if neither DVC nor torchrun has started it: a command under nohup outlives the terminal.
    """
    if not {"DVC_STAGE", "TORCHELASTIC_RUN_ID"} & os.environ.keys():
        return {}
    parents = {os.getpid(): os.getppid()}
    try:
        parent = psutil.Process(os.getppid())
        return parents | ({parent.pid: parent.ppid()} if parent.name() in SHELLS else {})
    except psutil.Error:
        return parents


LAUNCHERS = _launchers()  # at the import, as a DVC that ends while a stage imports its libraries would leave another parent behind


def _watch(parents: Mapping[int, int], act: Callable[[], None]) -> None:
    """Call `act` in a thread as soon as one of the processes has another parent: its own has ended."""

    def watch() -> None:
        while all(_parent(child) == parent for child, parent in parents.items()):
            time.sleep(POLL)
        act()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _parent(process: int) -> int | None:
    try:
        return os.getppid() if process == os.getpid() else psutil.Process(process).ppid()
    except psutil.Error:
        return None
