"""Cropped coverage -> the dense target, for batch after batch in one buffer."""

import numpy as np
import torch

from handbone.training.staging import stage_target
from handbone.training.target_buffer import TargetBuffer

SHAPE = (20, 30)
CPU = torch.device("cpu")


def random_batch(seed: int, samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random boxes of 4 classes, some of them empty, their values, and the dense maps that they describe."""
    rng = np.random.default_rng(seed)
    boxes, values, dense = np.zeros((samples, 4, 4), np.int32), [], np.zeros((samples, 4, *SHAPE), np.float32)
    for sample in range(samples):
        for index in range(4):
            y0, x0 = rng.integers(0, 20), rng.integers(0, 30)
            y1, x1 = rng.integers(y0 + 1, 21), rng.integers(x0 + 1, 31)
            if rng.random() < 0.3:
                continue
            content = rng.integers(0, 256, (y1 - y0, x1 - x0), np.uint8)
            boxes[sample, index] = y0, x0, y1, x1
            values.append(content.ravel())
            dense[sample, index, y0:y1, x0:x1] = content.astype(np.float32) / 255
    return boxes, np.concatenate([np.zeros(0, np.uint8), *values]), dense


def test_each_target_has_its_batch_and_nothing_of_the_last_one() -> None:
    """Batches of changing size, the first not the largest."""
    buffer = TargetBuffer(CPU)
    for seed, samples in enumerate([2, 3, 1, 3, 2]):
        boxes, values, dense = random_batch(seed, samples)
        assert np.array_equal(buffer.fill(stage_target(boxes, values, SHAPE, CPU)).numpy(), dense)


def test_a_batch_of_empty_boxes_is_zero() -> None:
    found = TargetBuffer(CPU).fill(stage_target(np.zeros((2, 3, 4), np.int32), np.zeros(0, np.uint8), SHAPE, CPU))
    assert found.shape == (2, 3, *SHAPE) and not found.any()


def test_the_buffer_adapts_to_another_shape() -> None:
    buffer = TargetBuffer(CPU)
    boxes, values, dense = random_batch(1, 2)
    buffer.fill(stage_target(boxes, values, SHAPE, CPU))
    found = buffer.fill(stage_target(boxes, values, (40, 50), CPU))
    assert np.array_equal(found[..., :20, :30].numpy(), dense) and float(found.sum()) == float(torch.from_numpy(dense).sum())
