"""Cropped coverage maps -> the dense target on the device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class TargetBuffer:
    """One float buffer that every batch reuses. Only the pixels of the last batch are cleared, so the cost grows with the masks' areas.

    A target is valid until the next call of `fill`.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._dense = torch.zeros(0, device=device)
        self._written = torch.zeros(0, dtype=torch.int64, device=device)

    def fill(self, boxes: NDArray[np.int32], values: NDArray[np.uint8], shape: tuple[int, int]) -> Tensor:
        """(N, C, 4) boxes and their values, 255 for a covered pixel -> (N, C, h, w) float32 in 0..1 on the device."""
        wanted = (*boxes.shape[:2], *shape)
        if self._dense.shape[1:] != wanted[1:] or len(self._dense) < len(boxes):
            self._dense = torch.zeros(wanted, device=self._device)
        else:
            self._dense.view(-1)[self._written] = 0
        self._written = self._positions(boxes.reshape(-1, 4).astype(np.int64), shape)
        self._dense.view(-1)[self._written] = torch.from_numpy(values).to(self._device).float().div_(255)
        return self._dense[: len(boxes)]

    def _positions(self, boxes: NDArray[np.int64], shape: tuple[int, int]) -> Tensor:
        """(P, 4) boxes, one per (h, w) plane -> the flat index of every value in the P planes."""
        heights, widths = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        plane = np.repeat(np.arange(len(boxes)), heights)  # of each row of each box
        row = np.arange(len(plane)) - np.repeat(np.cumsum(heights) - heights, heights)
        starts = (plane * shape[0] + boxes[plane, 0] + row) * shape[1] + boxes[plane, 1]
        lengths = widths[plane]
        total = int(lengths.sum())
        # value k is k - (number of values in the rows above) pixels after the start of its row
        shifts, repeats = (torch.from_numpy(each).to(self._device) for each in (starts - (np.cumsum(lengths) - lengths), lengths))
        return torch.repeat_interleave(shifts, repeats, output_size=total) + torch.arange(total, device=self._device)
