"""Distances to the outlines of masks, on the device of the masks."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.library import custom_op
from torch.nn import functional

ROWS = 8  # whose distances are compared at a time: few enough for little memory, enough to keep a GPU busy
POINTS = 128  # rows and columns at which distances to an outline are exact: all of them take seconds per image


@custom_op("handbone::signed_distances", mutates_args=())  # torch.compile would unroll its loops
def signed_distances(inside: Tensor) -> Tensor:
    """(N, C, H, W) masks -> (N, C, H, W) distance to the outline, in diagonals, negative inside, clipped to -1..1.

    The outline is half a pixel before the nearest pixel of the other kind. Distances are exact in an image of up to `POINTS` pixels a side;
    in a larger one at about so many rows and columns, and linear between them, but on the right side of the outline. At 1024 pixels that
    differs by 0.03 pixels on average and by 5 at most.
    """
    height, width = inside.shape[2:]
    stride, diagonal = -(-max(height, width) // POINTS), math.hypot(height, width)
    rows, columns = (torch.arange(0, side + stride - 1, stride, device=inside.device).clamp_(max=side - 1) for side in (height, width))
    grid = _distances_at(inside, rows, columns).clamp_(-diagonal, diagonal)
    size = ((len(rows) - 1) * stride + 1, (len(columns) - 1) * stride + 1)
    dense = functional.interpolate(grid, size, mode="bilinear", align_corners=True)[:, :, :height, :width]
    return torch.where(inside, dense.clamp(max=-0.5), dense.clamp(min=0.5)).div_(diagonal).clamp_(-1, 1)


@signed_distances.register_fake
def _signed_distances_shape(inside: Tensor) -> Tensor:
    return torch.empty(inside.shape, device=inside.device)


def _distances_at(masks: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(N, C, H, W) masks, (h,) rows, (w,) columns -> (N, C, h, w) signed distance in pixels; infinite if a mask is all of one kind.

    The square of a distance is the least, over all rows, of the squared distance to the row plus the squared distance within that row
    (Felzenszwalb and Huttenlocher, 2012).
    """
    sampled = masks[..., columns]  # (N, C, H, w)
    in_row = torch.stack([_row_distances(masks[:, index])[..., columns] for index in range(masks.shape[1])], 1).square_()
    both = torch.stack([torch.where(sampled, 0, in_row), torch.where(sampled, in_row, 0)])  # to the mask, to the rest
    nearest = torch.full((*both.shape[:3], len(rows), len(columns)), math.inf, device=masks.device)
    for start in range(0, masks.shape[2], ROWS):
        below = torch.arange(start, min(start + ROWS, masks.shape[2]), device=masks.device)
        to_row = (rows - below[:, None]).square().float()  # (ROWS, h)
        candidates = both[:, :, :, below].movedim(3, 0)[..., None, :] + to_row[:, None, None, None, :, None]
        nearest = torch.minimum(nearest, candidates.amin(0))
    to_mask, to_rest = nearest.sqrt_()
    return torch.where(sampled[:, :, rows], 0.5 - to_rest, to_mask - 0.5)


def _row_distances(mask: Tensor) -> Tensor:
    """(N, H, W) mask -> (N, H, W) distance in pixels to the nearest pixel of the other kind in the same row; infinite if there is none."""
    columns = torch.arange(mask.shape[2], dtype=torch.float32, device=mask.device)
    changes = mask[:, :, 1:] != mask[:, :, :-1]
    last_before = functional.pad(torch.where(changes, columns[:-1], -math.inf), (1, 0), value=-math.inf).cummax(2).values
    first_after = functional.pad(torch.where(changes, columns[1:], math.inf), (0, 1), value=math.inf).flip(2).cummin(2).values.flip(2)
    return torch.minimum(columns - last_before, first_after - columns)
