"""Batches on their way to the device."""

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from handbone.models.device import copy_stream
from handbone.training import staging
from handbone.training.data.dataset import Batch
from handbone.training.staging import staged

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def batch(number: int) -> Batch:
    boxes = np.zeros((2, 3, 4), np.int32)
    boxes[1, 2] = 1, 1, 3, 4
    return Batch(np.full((2, 1, 8, 6), number, np.uint8), boxes, np.arange(6, dtype=np.uint8), np.array([1, number], np.float32))


def test_a_staged_batch_has_everything_of_its_batch() -> None:
    found = list(staged(map(batch, range(3)), CPU))
    assert [int(each.images[0, 0, 0, 0]) for each in found] == [0, 1, 2]
    assert [each.weights.tolist() for each in found] == [[1, 0], [1, 1], [1, 2]]
    assert all(each.images.dtype == torch.uint8 and each.target.shape == (2, 3, 8, 6) for each in found)


def test_the_positions_are_those_of_the_values_in_the_dense_target() -> None:
    (found,) = staged([batch(0)], CPU)
    dense = np.arange(2 * 3 * 8 * 6).reshape(2, 3, 8, 6)
    assert found.target.positions().tolist() == dense[1, 2, 1:3, 1:4].ravel().tolist()
    assert found.target.values.tolist() == [0, 1, 2, 3, 4, 5]


def test_on_a_cpu_a_batch_is_drawn_when_it_is_used() -> None:
    drawn: list[int] = []

    def batches() -> Iterator[Batch]:
        for number in range(3):
            drawn.append(number)
            yield batch(number)

    for number, _ in enumerate(staged(batches(), CPU)):
        assert drawn == list(range(number + 1))


class Stream:
    """Takes the place of a GPU's stream; its events are numbered."""

    def __init__(self, device: torch.device) -> None:
        self.events, self.waited, self.keeps = 0, list[int](), list[int]()

    def record_event(self) -> int:
        self.events += 1
        return self.events

    def wait_event(self, event: int) -> None:
        self.waited.append(event)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Stream]]:
    """The streams that are made, the first one is that of the training; batches stay on the CPU."""
    made = [Stream(GPU)]

    def make(device: torch.device) -> Stream:
        made.append(Stream(device))
        return made[-1]

    copy_stream.cache_clear()
    monkeypatch.setattr(torch.cuda, "Stream", make)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: made[0])
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: stream.keeps.append(tensor.data_ptr()))
    monkeypatch.setattr(staging, "_mover", lambda device: torch.from_numpy)
    yield made
    copy_stream.cache_clear()


def test_the_training_waits_for_the_copies_of_a_batch_and_keeps_their_memory(streams: list[Stream]) -> None:
    for number, found in enumerate(staged(map(batch, range(3)), GPU), 1):
        assert streams[0].waited == list(range(1, number + 1))
        assert streams[0].keeps[-5:] == [tensor.data_ptr() for tensor in (found.images, found.weights, *found.target[:3])]
    assert number == 3 and len(streams[0].keeps) == 15


def test_every_epoch_copies_in_the_same_stream(streams: list[Stream]) -> None:
    """PyTorch would give a new stream 32 times, and keep memory of batches for each."""
    for _ in range(3):
        assert len(list(staged(map(batch, range(2)), GPU))) == 2
    assert len(streams) == 2 and streams[1].events == 6
