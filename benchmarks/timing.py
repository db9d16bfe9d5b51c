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
Subject = TypeVar("Subject")
Result = TypeVar("Result")
LIBC = ctypes.CDLL(ctypes.util.find_library("c"))
MMAP_THRESHOLD, ARENA_MAX = -3, -8  # of glibc's mallopt


def elapsed_ms(work: Work) -> float:
    """One run, in ms."""
    start = perf_counter()
    work()
    return (perf_counter() - start) * 1e3


def interleaved(works: Sequence[Work], rounds: int, repeats: Sequence[int]) -> list[float]:
    """Each work's median ms; every round runs each of them in turn, the i-th `repeats[i]` times, so that noise meets all alike."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, own, count in zip(works, times, repeats, strict=True):
            own += [elapsed_ms(work) for _ in range(count)]
    return [median(own) for own in times]


def alone(make: Callable[[Subject], Result], subject: Subject) -> Result:
    """`make(subject)` in a forked process, so that no row's times depend on what the rows before it left in the allocator."""
    receiver, sender = get_context("fork").Pipe(duplex=False)
    process = get_context("fork").Process(target=lambda: sender.send(make(subject)))
    process.start()
    sender.close()
    try:
        result: Result = receiver.recv()
    except EOFError:
        raise SystemExit("a benchmark failed in its process; its error stands above") from None
    process.join()
    return result


def peak_mb(work: Work) -> float:
    """The memory (MB) that `work` adds at its peak: what is in use, not what the allocator keeps for later.

    It runs in a forked process, for only a process of its own has a peak of its own: the kernel's count of resident pages (ru_maxrss),
    which sees what NumPy, torch, OpenCV and numba take. Before the fork freed memory goes back to the system, or the child would take
    from it unseen; in the child it goes back at once, or threads that free it in another order each time would seem to need more and more.
    """
    gc.with_growing_buffer()
    if hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)
    return alone(_peak, work)


def _peak(work: Work) -> float:
    if hasattr(LIBC, "mallopt"):
        LIBC.mallopt(MMAP_THRESHOLD, 128 * 1024)
        LIBC.mallopt(ARENA_MAX, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6
