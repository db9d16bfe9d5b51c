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
    """The memory (MB) that `work` adds at its peak."""
    return in_child(lambda: work())[1]


def in_child(work: Callable[[], float | object]) -> tuple[object, float]:
    """Run `work` in a forked process -> what it returns, and the MB by which the process's memory grew at its peak.

    The kernel's count of resident pages (ru_maxrss) sees what NumPy, torch, OpenCV and numba take; only a process of its own has a
    peak of its own. Before the fork freed memory goes back to the system, or the child would take from it unseen.
    """
    gc.collect()
    if (library := ctypes.util.find_library("c")) is not None and hasattr(libc := ctypes.CDLL(library), "malloc_trim"):
        libc.malloc_trim(0)
    return alone(_measure, work)


def _measure(work: Callable[[], float | object]) -> tuple[object, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = work()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6
    return (result if isinstance(result, float) else None), grown
