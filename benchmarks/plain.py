"""The plain computation of each result, on dense maps and masks: ours must equal it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from handbone.masks.boxed import Mask
from handbone.masks.coverage import InverseWarp


def coverage(masks: Mask, inverse_warp: InverseWarp, side: int, points: int) -> NDArray[np.uint8]:
    """(C, H, W) masks -> (C, side, side): points x points per network pixel, mapped back by the affine warp and looked up in the masks."""
    height, width = masks.shape[1:]
    ratio = np.array([width / side, height / side])[:, None, None]
    labels = np.zeros((height, width), np.uint64)  # one bit per class, so that one look-up serves all of them
    for index, mask in enumerate(masks):
        labels |= mask.astype(np.uint64) << np.uint64(index)
    inside = np.zeros((len(masks), side, side), np.uint16)
    y, x = np.mgrid[:side, :side]
    for step in np.ndindex(points, points):
        down, across = (np.array(step) + 0.5) / points - 0.5
        at = np.stack([x + across, y + down, np.ones(x.shape)])
        from_x, from_y = (np.tensordot(inverse_warp, at, 1) + 0.5) * ratio
        inside_image = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
        column, row = np.where(inside_image, from_x, 0).astype(int), np.where(inside_image, from_y, 0).astype(int)
        found = labels[row, column] * inside_image
        for index, plane in enumerate(inside):
            plane += (found >> np.uint64(index) & np.uint64(1)).astype(np.uint16)
    count = points * points
    return ((2 * 255 * inside.astype(np.int32) + count) // (2 * count)).astype(np.uint8)


def masks(maps: NDArray[np.uint8], side: int) -> Mask:
    """(C, h, w) probabilities in 0..255 -> (C, side, side) bool."""
    planes = torch.from_numpy(maps).float()[None]
    upsampled = F.interpolate(planes, size=(side, side), mode="bilinear")[0]
    return (upsampled > 127.5).numpy()


def counts(predicted: Mask, truth: Mask) -> NDArray[np.int64]:
    """Two (C, H, W) -> (C, 3) pixels: true positive, false positive, false negative."""
    pairs = ((predicted, truth), (predicted, ~truth), (~predicted, truth))
    return np.stack([np.count_nonzero((one & other).reshape(len(one), -1), axis=1) for one, other in pairs], 1)
