"""Parallel maps over samples: in processes, or in threads that prefetch a few results ahead of the consumer."""

from __future__ import annotations

import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import cv2
from tqdm import tqdm

from handbone.utils.ending import die_with_parent, signals_deferred

Item = TypeVar("Item")
Result = TypeVar("Result")
GRACE = 1.0  # seconds for worker processes to finish their items after an exception


def usable_cores() -> int:
    """The number of cores that this process may use: fewer than the machine has where a scheduler or `taskset` has limited them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


THREADS = min(4, usable_cores())


def map_samples(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int | None, desc: str, unit: str = "image"
) -> list[Result]:
    """`[function(item) for item in items]` in `workers` processes (None: one per usable core), with a progress bar that counts `unit`s.

    Results are in the order of `items`. An exception of `function` reaches the caller. Raises RuntimeError if a worker process is killed.
    All worker processes have ended when this function does, also after an exception or a signal.
    """
    # no ProcessPoolExecutor: if a signal ends the workers too, its threads print tracebacks or wait for ever
    count = min(workers or usable_cores(), len(items))
    results: dict[int, Any] = {}
    with _worker_processes(function, count) as connections, tqdm(total=len(items), desc=desc, unit=unit) as bar:
        unsent, sent = iter(range(len(items))), dict[Any, int]()  # numbers of items; sent: by the connection, until the answer
        idle: list[Any] = connections
        while idle:
            for connection, number in zip(idle, unsent, strict=False):
                with _noticing_killed_workers():
                    connection.send(items[number])
                sent[connection] = number
            idle = wait(list(sent)) if sent else []
            for connection in idle:
                results[sent.pop(connection)] = _receive(connection)
                bar.update()
    return [results[number] for number in range(len(items))]


@contextmanager
def _worker_processes(function: Callable[[Item], Result], count: int) -> Iterator[list[Any]]:
    """Start `count` processes -> a connection to each. For each item that is sent one receives (result, exception or null).

    At the end of this context they are asked to end after their item, and killed after `GRACE` seconds, or at once at a second signal.
    """
    context = get_context("spawn")  # a fork of a process that has started threads (torch, OpenCV) can hang
    processes, connections = list[BaseProcess](), list[Connection]()
    try:
        resource_tracker.ensure_running()  # the first process would start it, and Python allows all signals again after that
        with signals_deferred():
            for _ in range(count):
                connection, other_end = context.Pipe()
                process = context.Process(target=_work, args=(function, other_end, os.getpid()), daemon=True)
                process.start()
                other_end.close()
                processes.append(process)
                connections.append(connection)
        yield connections
    finally:
        try:
            for connection in connections:
                connection.close()
            deadline = time.monotonic() + GRACE
            for started in processes:
                started.join(max(0, deadline - time.monotonic()))
        finally:
            for started in processes:
                started.kill()
            for started in processes:
                started.join()


def _receive(connection: Any) -> Any:
    """The result of the item that the worker process has got, or the exception that it gave."""
    with _noticing_killed_workers():
        result, error = connection.recv()
    if error is not None:
        raise error
    return result


@contextmanager
def _noticing_killed_workers() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise RuntimeError("a process in the process pool was terminated abruptly") from error


def _work(function: Callable[[Any], Any], connection: Any, parent: int) -> None:
    """What a worker process does until the other end of the connection is closed."""
    die_with_parent(parent)
    cv2.setNumThreads(1)
    with suppress(EOFError, OSError):
        while True:
            connection.send(_answer(function, connection.recv()))


def _answer(function: Callable[[Any], Any], item: Any) -> tuple[Any, Exception | None]:
    try:
        return function(item), None
    except Exception as error:
        error.add_note(traceback.format_exc())  # of this process, which the traceback of the caller lacks
        return None, error


def prefetch_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`(function(item) for item in items)` in threads that prefetch a few results ahead of the consumer, in order.

    For work that releases Python's global lock. `items` is iterated in the caller's thread. At most 2 * THREADS + 1 items exist at a time,
    so memory is bounded. An exception of `function` reaches the caller.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 2 * THREADS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # the caller may stop early, or an item may fail
            for future in pending:
                future.cancel()
