"""Batches on their way to the device."""

from collections.abc import Iterator

import numpy as np
import torch

from handbone.training.data.dataset import Batch
from handbone.training.staging import staged

CPU = torch.device("cpu")


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
