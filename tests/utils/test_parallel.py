"""Order is kept, memory is bounded, failures are told."""

import threading
import time

import pytest

from handbone.utils.parallel import THREADS, prefetch_map


def test_results_come_in_order() -> None:
    def work(item: int) -> int:
        time.sleep(0.01 * (item % 3 == 0))
        return item * item

    assert list(prefetch_map(work, range(30))) == [item * item for item in range(30)]


def test_items_are_drawn_only_a_few_ahead() -> None:
    """So that a long list of images is never held in memory."""
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


def test_work_goes_on_while_the_next_item_is_made() -> None:
    """The network makes items, threads finish them: an item's work is waited for only when its place has come."""
    started, release = threading.Event(), threading.Event()

    def items():
        yield 0
        assert started.wait(10)  # the first item is being worked on while this one is made
        release.set()
        yield 1

    def work(item: int) -> int:
        started.set()
        assert release.wait(10)
        return item

    assert list(prefetch_map(work, items())) == [0, 1]


def test_a_failure_reaches_the_caller() -> None:
    def work(item: int) -> int:
        if item == 5:
            raise ValueError("item 5")
        return item

    with pytest.raises(ValueError, match="item 5"):
        list(prefetch_map(work, range(100)))
