"""A polygon painted as pycocotools paints it, to the pixel.

rleFrPoly of Lin et al., Microsoft COCO, ECCV 2014: https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c
The outline is drawn on a grid of five times the resolution; where it crosses the middle of a column of pixels, the pixels below change
from outside to inside or back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handbone.masks.boxed import Mask

SCALE = 5  # of the grid
Ints = NDArray[np.int64]


def paint_polygon(points: Sequence[Sequence[float]], height: int, width: int) -> Mask:
    """(n, 2) points x, y in pixels -> the (H, W) mask."""
    corners = np.trunc(SCALE * np.asarray(points, np.float64) + 0.5).astype(np.int64)
    edges = [_edge(start, end) for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    u, v = np.concatenate(edges).T
    crossing = np.flatnonzero(u[1:] != u[:-1]) + 1
    x = (np.minimum(u[crossing], u[crossing - 1]) + 0.5) / SCALE - 0.5
    y = np.ceil(np.clip((np.minimum(v[crossing], v[crossing - 1]) + 0.5) / SCALE - 0.5, 0, height))
    inside = (np.floor(x) == x) & (x >= 0) & (x <= width - 1)
    changes = (x[inside] * height + y[inside]).astype(np.int64)  # pixels are counted column by column
    flips = np.bincount(changes, minlength=height * width + 1)[: height * width]
    return np.asarray(np.cumsum(flips) % 2 == 1).reshape(width, height).T


def _edge(start: Ints, end: Ints) -> Ints:
    """(n, 2) points of the grid on the line from start to end, one per step of the longer side."""
    steps = int(np.abs(end - start).max())
    longer = int(np.abs(end - start).argmax())  # x if both are equal
    if start[longer] > end[longer]:
        return _edge(end, start)[::-1]
    slope = (end - start) / max(steps, 1)
    line = np.trunc(start + slope * np.arange(steps + 1)[:, None] + 0.5).astype(np.int64)
    line[:, longer] = start[longer] + np.arange(steps + 1)
    return line
