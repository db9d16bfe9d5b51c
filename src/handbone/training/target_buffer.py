"""Cropped coverage maps -> the dense target on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from handbone.training.staging import StagedTarget


class TargetBuffer:
    """One float buffer that every batch reuses. Only the pixels of the last batch are cleared, so the cost grows with the masks' areas.

    A target is valid until the next call of `fill`. On a GPU nothing here waits for it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._dense = torch.zeros(0, device=device)
        self._written = torch.zeros(0, dtype=torch.int64, device=device)

    def fill(self, target: StagedTarget) -> Tensor:
        """-> (N, C, h, w) float32 in 0..1 on the device."""
        if self._dense.shape[1:] != target.shape[1:] or len(self._dense) < target.shape[0]:
            self._dense = torch.zeros(target.shape, device=self._device)
        else:
            self._dense.view(-1).index_fill_(0, self._written, 0)
        self._written = target.positions()
        self._dense.view(-1)[self._written] = target.values.float().div_(255)
        return self._dense[: target.shape[0]]
