"""Batches on their way to the device: on a GPU from pinned memory and one batch ahead, so that neither side waits for the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handbone.models.device import copy_stream
from handbone.training.data.dataset import Batch


class StagedTarget(NamedTuple):
    """The boxes of a batch's coverage maps, as their rows in N * C planes of h * w values.

    values: uint8, 255 for a covered pixel, row after row; lengths: int64, pixels of each row; shifts: int64, for each row the flat index of
    its first pixel minus the number of values before it; shape: (N, C, h, w).
    """

    values: Tensor
    lengths: Tensor
    shifts: Tensor
    shape: tuple[int, int, int, int]

    def positions(self) -> Tensor:
        """The flat index of every value, int64, on the device of the values."""
        total = len(self.values)
        return torch.repeat_interleave(self.shifts, self.lengths, output_size=total) + torch.arange(total, device=self.values.device)


class StagedBatch(NamedTuple):
    """A batch on the device: images (N, C_in, h, w) uint8, the target, and the weight (N,) float32 of each sample in the loss."""

    images: Tensor
    target: StagedTarget
    weights: Tensor


def stage(batch: Batch, device: torch.device) -> StagedBatch:
    """Copy a batch to the device. On a GPU the copies are only queued, in the current stream."""
    place = _mover(device)
    target = stage_target(batch.boxes, batch.values, batch.images.shape[2:], device)
    return StagedBatch(place(batch.images), target, place(batch.weights))


def stage_target(boxes: NDArray[np.int32], values: NDArray[np.uint8], shape: tuple[int, ...], device: torch.device) -> StagedTarget:
    """(N, C, 4) boxes in planes of `shape` (h, w), and their values one after the other -> the target, on the device as in `stage`."""
    place, (height, width) = _mover(device), shape
    flat = boxes.reshape(-1, 4).astype(np.int64)
    heights, widths = flat[:, 2] - flat[:, 0], flat[:, 3] - flat[:, 1]
    plane = np.repeat(np.arange(len(flat)), heights)  # of each row of each box
    row = np.arange(len(plane)) - np.repeat(np.cumsum(heights) - heights, heights)
    starts, lengths = (plane * height + flat[plane, 0] + row) * width + flat[plane, 1], widths[plane]
    shifts = starts - (np.cumsum(lengths) - lengths)
    return StagedTarget(place(values), place(lengths), place(shifts), (*boxes.shape[:2], height, width))


def staged(batches: Iterable[Batch], device: torch.device) -> Iterator[StagedBatch]:
    """The batches on the device. On a GPU each is copied in another stream while the one before it is trained on."""
    if device.type != "cuda":
        yield from (stage(batch, device) for batch in batches)
        return
    stream = copy_stream(device)
    ahead: tuple[StagedBatch, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(stream):
            following = stage(batch, device), stream.record_event()  # type: ignore[no-untyped-call]
        if ahead is not None:
            yield _received(*ahead)
        ahead = following
    if ahead is not None:
        yield _received(*ahead)


def _received(batch: StagedBatch, copied: torch.cuda.Event) -> StagedBatch:
    """`batch`, for use in the current stream, which waits for the copies; the host does not."""
    current = torch.cuda.current_stream()
    current.wait_event(copied)
    for tensor in (batch.images, batch.weights, *batch.target[:3]):
        tensor.record_stream(current)  # its memory belongs to the other stream, which must not use it again too early
    return batch


def _mover(device: torch.device) -> Callable[[NDArray[np.generic]], Tensor]:
    if device.type != "cuda":
        return lambda array: torch.from_numpy(array).to(device)
    return lambda array: torch.from_numpy(array).pin_memory().to(device, non_blocking=True)  # PyTorch keeps pinned memory and uses it again
