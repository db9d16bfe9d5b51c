"""Medians of interleaved runs, and peak memory."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import resource
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from statistics import median
from time import perf_counter
from typing import TypeVar

Work = Callable[[], object]
Argument = TypeVar("Argument")
Result = TypeVar("Result")
LIBC = ctypes.CDLL(ctypes.util.find_library("c"))
MMAP_THRESHOLD, ARENA_MAX = -3, -8  # of glibc's mallopt


def elapsed_ms(work: Work) -> float:
    """One run, in ms."""
    start = perf_counter()
    work()
    return (perf_counter() - start) * 1e3


def interleaved(works: Sequence[Work], rounds: int, repeats: Sequence[int]) -> list[float]:
    """Median ms of each work. Every round runs all of them in turn, the i-th `repeats[i]` times, so that noise affects all alike."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, of_work, count in zip(works, times, repeats, strict=True):
            of_work += [elapsed_ms(work) for _ in range(count)]
    return [median(of_work) for of_work in times]


def in_fork(function: Callable[[Argument], Result], argument: Argument) -> Result:
    """`function(argument)` in a forked process, so that the times of a row do not depend on what earlier rows left in the allocator."""
    receiver, sender = get_context("fork").Pipe(duplex=False)
    process = get_context("fork").Process(target=lambda: sender.send(function(argument)))
    process.start()
    sender.close()
    try:
        result: Result = receiver.recv()
    except EOFError:
        raise SystemExit("a benchmark failed in its process; see the error above") from None
    process.join()
    return result


def peak_mb(work: Work) -> float:
    """The memory (MB) in use that `work` adds at its peak, without what the allocator keeps for later.

    `work` runs in a forked process, as the peak (ru_maxrss, which counts the pages of NumPy, torch, OpenCV and numba alike) belongs to a
    process. Before the fork, freed memory is returned to the system; otherwise the child could use it without being counted. In the child
    it is returned at once; otherwise threads that free it in a different order each time would seem to need more and more.
    """
    gc.collect()
    if hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)
    return in_fork(_peak, work)


def _peak(work: Work) -> float:
    if hasattr(LIBC, "mallopt"):
        LIBC.mallopt(MMAP_THRESHOLD, 128 * 1024)
        LIBC.mallopt(ARENA_MAX, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6
