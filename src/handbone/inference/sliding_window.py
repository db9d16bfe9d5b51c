"""A network that sees an image through overlapping windows and gives logits for the whole image.

F. Isensee, P. F. Jaeger, S. A. A. Kohl, J. Petersen, K. H. Maier-Hein: nnU-Net: a self-configuring method for deep learning-based
biomedical image segmentation, Nature Methods 18, 2021. Where windows overlap, each pixel of a window is weighted by a Gaussian around the
window's centre, because near its border the network sees too little context. The smallest weight is that of MONAI's
sliding_window_inference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor

Model = Callable[[Tensor], Tensor]  # (N, C_in, H, W) in 0..1 -> (N, C, H, W) logits
Window = tuple[slice, slice]  # rows, columns

_SIGMA = 1 / 8  # of the Gaussian, as a share of the window's side
_MIN_WEIGHT = 1e-3  # in the corners the Gaussian is 1e-7, and some pixels are covered by a corner only


def windowed(model: Model, side: int, stride: int, batch_size: int = 8) -> Model:
    """`model` behind windows of `side` pixels, `stride` (1 to side) apart: (N, C_in, H, W) in 0..1 -> (N, C, H, W) float32 logits.

    An image no larger than a window goes to `model` directly, so the result is the model's. If only one axis is shorter than `side`,
    windows are as long as the image along that axis. A model that computes each pixel by itself gives the same as without windows, up to
    the rounding of a weighted mean of equal numbers. `model` gets `batch_size` windows at a time, also across the images of a batch.
    """

    def blended(images: Tensor) -> Tensor:
        return model(images) if max(images.shape[-2:]) <= side else _blended(model, images, side, stride, batch_size)

    return blended


def positions(length: int, side: int, stride: int) -> list[int]:
    """First pixels of the windows along an axis of `length` pixels: `stride` apart, the last window flush with the end."""
    last = max(length - side, 0)
    return [*range(0, last, stride), last]


def importance(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(height, width) weights of a window's pixels, 1e-3 to 1."""
    rows, columns = _gaussian(height, device), _gaussian(width, device)
    return (rows[:, None] * columns).clamp_min_(_MIN_WEIGHT)


def _gaussian(length: int, device: torch.device | None) -> Tensor:
    distances = torch.arange(length, device=device) - (length - 1) / 2
    return torch.exp((distances / (_SIGMA * length)).square() / -2)


def _windows(height: int, width: int, side: int, stride: int) -> list[Window]:
    tops, lefts = positions(height, side, stride), positions(width, side, stride)
    return [(slice(top, min(top + side, height)), slice(left, min(left + side, width))) for top, left in product(tops, lefts)]


def _blended(model: Model, images: Tensor, side: int, stride: int, batch_size: int) -> Tensor:
    """The weighted mean of the windows' logits, (N, C, H, W) float32; windows are added one by one, none is kept."""
    height, width = images.shape[-2:]
    windows = _windows(height, width, side, stride)
    weights = importance(min(side, height), min(side, width), images.device)
    total = images.new_zeros(height, width, dtype=torch.float32)
    for window in windows:
        total[window] += weights
    sums = images.new_empty(0)
    for index, (rows, columns), logits in _logits(model, images, windows, batch_size):
        if not len(sums):  # the first logits show how many classes there are
            sums = total.new_zeros(len(images), len(logits), height, width)
        sums[index, :, rows, columns].addcmul_(logits.float(), weights)
    return sums.div_(total)


def _logits(model: Model, images: Tensor, windows: list[Window], batch_size: int) -> Iterator[tuple[int, Window, Tensor]]:
    """For every window of every image: the image's index, the window, its logits (C, h, w)."""
    places = list(product(range(len(images)), windows))
    for first in range(0, len(places), batch_size):
        batch = places[first : first + batch_size]
        crops = torch.stack([images[index, :, rows, columns] for index, (rows, columns) in batch])
        for (index, window), logits in zip(batch, model(crops.contiguous(memory_format=torch.channels_last)), strict=True):
            yield index, window, logits
