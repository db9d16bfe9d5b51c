"""The form in which predictions leave the device."""

from __future__ import annotations

import torch
from torch import Tensor


def quantise(probabilities: Tensor) -> Tensor:
    """(N, C, h, w) in 0..1 -> uint8, 255 for certainty."""
    return probabilities.float().mul(255).round().to(torch.uint8)


def to_uint8(logits: Tensor) -> Tensor:
    """(N, C, h, w) -> uint8 probabilities on a GPU, a quarter of the way to the host; float32 logits on a CPU, where they are at home."""
    return quantise(logits.float().sigmoid()) if logits.is_cuda else logits.float()
