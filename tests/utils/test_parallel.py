"""Results keep their order, memory is bounded, exceptions reach the caller."""

import multiprocessing
import os
import threading
import time

import pytest

from handbone.utils.limits import limit_error
from handbone.utils.parallel import THREADS, map_samples, prefetch_map, usable_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot bind a process to cores")
def test_only_the_cores_that_a_scheduler_gives_count() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_results_come_in_order() -> None:
    def work(item: int) -> int:
        time.sleep(0.01 * (item % 3 == 0))
        return item * item

    assert list(prefetch_map(work, range(30))) == [item * item for item in range(30)]


def test_only_a_few_items_are_prefetched() -> None:
    """A long list of images never fits into memory."""
    drawn: list[int] = []

    def items():
        for item in range(1000):
            drawn.append(item)
            yield item

    results = prefetch_map(lambda item: item, items())
    next(results)
    assert len(drawn) <= 2 * THREADS + 1
    results.close()
    assert len(drawn) <= 2 * THREADS + 1


def test_threads_work_while_the_caller_creates_the_next_item() -> None:
    """The network creates items and threads finish them; the caller waits for a result only when it is the next one."""
    started, release = threading.Event(), threading.Event()

    def items():
        yield 0
        assert started.wait(10)  # a thread works on the first item while this one is created
        release.set()
        yield 1

    def work(item: int) -> int:
        started.set()
        assert release.wait(10)
        return item

    assert list(prefetch_map(work, items())) == [0, 1]


def test_an_exception_in_a_thread_reaches_the_caller() -> None:
    def work(item: int) -> int:
        if item == 5:
            raise ValueError("item 5")
        return item

    with pytest.raises(ValueError, match="item 5"):
        list(prefetch_map(work, range(100)))


def reciprocal(number: int) -> float:
    return 1 / number


@pytest.mark.parametrize("workers", [1, 3])
def test_processes_give_results_in_order(workers: int) -> None:
    assert map_samples(reciprocal, [1, 2, 4], workers, "test") == [1.0, 0.5, 0.25]
    assert map_samples(reciprocal, [], workers, "test") == []


def test_an_exception_in_a_process_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError) as error:
        map_samples(reciprocal, [1, 0], 2, "test")
    assert "in reciprocal" in error.value.__notes__[0], "the traceback of the process"


def test_no_process_is_left() -> None:
    map_samples(reciprocal, [1, 2], 2, "test")
    assert not multiprocessing.active_children()
    with pytest.raises(ZeroDivisionError):
        map_samples(reciprocal, [0, 0], 2, "test")
    assert not multiprocessing.active_children()


def exit_with_large_result(number: int) -> bytes:
    if number:
        os._exit(1)
    return bytes(10**7)  # more than a pipe holds


def test_a_process_that_ends_by_itself_is_an_error_that_has_advice() -> None:
    assert [len(result) for result in map_samples(exit_with_large_result, [0, 0, 0], 2, "test")] == [10**7] * 3
    with pytest.raises(RuntimeError) as error:
        map_samples(exit_with_large_result, [0, 1], 2, "test")
    limit = limit_error(error.value, "preprocess")
    assert limit is not None and limit.codes == {"machine.worker_killed"}
