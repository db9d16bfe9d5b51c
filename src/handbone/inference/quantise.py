"""Logits or probabilities -> uint8, the form in which predictions leave the device: 255 times the probability, rounded."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handbone.compiled import kernel
from handbone.parallel import THREADS

FAINTEST = np.float32(math.log(0.5 / 254.5))  # the logit whose probability is half a step of uint8: below it there is 0


def quantise(probabilities: Tensor) -> Tensor:
    """(N, C, h, w) in 0..1 -> uint8."""
    return probabilities.float().mul(255).round().to(torch.uint8)


def quantise_logits(logits: Tensor) -> Tensor:
    """(N, C, h, w) -> uint8. On a CPU without a sigmoid for the nine tenths of all pixels that are nothing; it differs from the plain way
    where float32 rounds the other way, within 1e-4 of the middle between two steps.
    """
    if logits.is_cuda:
        return quantise(logits.float().sigmoid())
    rows = logits.float().contiguous().numpy().reshape(-1, logits.shape[-1])
    steps = np.zeros(rows.shape, np.uint8)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(_quantise_rows, np.array_split(rows, THREADS), np.array_split(steps, THREADS)))
    return torch.from_numpy(steps.reshape(logits.shape))


@kernel
def _quantise_rows(rows: NDArray[np.float32], steps: NDArray[np.uint8]) -> None:
    """(R, w) logits -> (R, w) steps, which are 0 at first."""
    for row in range(rows.shape[0]):
        found = 0
        for column in range(rows.shape[1]):  # no way out at the first hit, so that it runs many pixels at a time
            found += rows[row, column] >= FAINTEST
        if not found:
            continue
        for column in range(rows.shape[1]):
            if rows[row, column] >= FAINTEST:
                steps[row, column] = int(255 / (1 + math.exp(-float(rows[row, column]))) + 0.5)
