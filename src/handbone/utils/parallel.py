"""Parallel maps over samples: in processes, or in threads that prefetch a few results ahead of the consumer."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import cv2
from tqdm import tqdm

from handbone.utils.ending import die_with_parent, interrupts_blocked

Item = TypeVar("Item")
Result = TypeVar("Result")
THREADS = min(4, os.cpu_count() or 1)


def map_samples(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int | None, desc: str, unit: str = "image"
) -> list[Result]:
    """`[function(item) for item in items]` in `workers` processes (None: one per core), with a progress bar that counts `unit`s.

    Results are in the order of `items`. An exception of `function` reaches the caller.
    """
    processes = min(workers or os.cpu_count() or 1, len(items)) or 1
    # spawn: a fork of a process that has started threads (torch, OpenCV) can hang
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(os.getpid(),)) as pool:
        with interrupts_blocked():  # the processes start here; a terminal would send Ctrl-C to them, too
            results = pool.map(function, items)
        return list(tqdm(results, total=len(items), desc=desc, unit=unit))


def _start_worker(parent: int) -> None:
    die_with_parent(parent)
    cv2.setNumThreads(1)


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
