"""Full-resolution masks, moved as augmentation moved the image -> coverage at the network's size: the training target.

The masks themselves are never moved. Each network pixel is traced back to where it comes from at full resolution, and a raster of points
inside it is looked up there; their mean is its coverage. Without augmentation, at a whole-numbered ratio of the sizes, that is the area
average exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.kernels import kernel
from handbone.masks.packed import PackedMasks

Motion = NDArray[np.floating]
"""Where a network pixel comes from, in network pixels whose centres are whole numbers: (2, 3), an affine matrix to be applied to (x, y, 1),
or (h, w, 2), x and y of every pixel, far below 0 for what comes from outside."""
Boxes = NDArray[np.int64]
Bytes = NDArray[np.uint8]
IDENTITY = np.eye(2, 3)
RASTER = 4  # points along a side of a network pixel, at least
TILE = 8  # pixels along a side of what is looked at together: a byte of packed mask is that wide
EMPTY, MIXED, FULL = 0, 1, 2
OUTSIDE = -1000.0


def coverage(masks: PackedMasks, shape: tuple[int, int], motion: Motion = IDENTITY) -> CroppedMaps:
    """C masks at full resolution, moved by `motion` -> their coverage at the network's size `shape` (h, w)."""
    scale = np.array([masks.shape[1] / shape[1], masks.shape[0] / shape[0]])  # x, y
    boxes, offsets = masks.boxes.astype(np.int64), masks.offsets()
    states = _tile_states(masks.bits, boxes, offsets)
    points = raster(masks.shape, shape)
    if motion.ndim == 2:
        # a network pixel's index -> full resolution, where pixel p intervals p to p + 1
        trace = (motion + np.array([0, 0, 0.5])) * scale[:, None]
        found = _affine_boxes(boxes, trace, shape)
        values = np.zeros(int((found[:, 2:] - found[:, :2]).prod(1).sum()), np.uint8)
        _affine_coverage(masks.bits, boxes, offsets, states, trace, points, found, values)
    else:
        places = (motion.astype(np.float32) + np.float32(0.5)) * scale.astype(np.float32)
        found = _grid_boxes(boxes, places)
        values = np.zeros(int((found[:, 2:] - found[:, :2]).prod(1).sum()), np.uint8)
        _grid_coverage(masks.bits, boxes, offsets, states, places, points, found, values)
    return CroppedMaps(shape, found.astype(np.int32), values)


def cut(whole: CroppedMaps, window: tuple[int, int, int, int]) -> CroppedMaps:
    """The part of each map in `window` (y0, x0, y1, x1), in the window's own coordinates."""
    top, left, bottom, right = window
    boxes = np.clip(whole.boxes, [top, left, top, left], [bottom, right, bottom, right])
    boxes[(boxes[:, :2] >= boxes[:, 2:]).any(1)] = [top, left, top, left]
    sizes = whole.boxes[:, 2:] - whole.boxes[:, :2]
    pieces = np.split(whole.values, np.cumsum(sizes.prod(1))[:-1])
    kept = [
        piece.reshape(size)[y0 - own[0] : y1 - own[0], x0 - own[1] : x1 - own[1]].ravel() if y1 > y0 else piece[:0]
        for piece, size, own, (y0, x0, y1, x1) in zip(pieces, sizes, whole.boxes, boxes, strict=True)
    ]
    return CroppedMaps((bottom - top, right - left), (boxes - [top, left, top, left]).astype(np.int32), np.concatenate(kept))


def hardened(soft: CroppedMaps) -> CroppedMaps:
    """The same with pixels that are all inside or all outside: inside from half covered on."""
    return CroppedMaps(soft.shape, soft.boxes, np.where(soft.values >= 128, np.uint8(255), np.uint8(0)))


def raster(full: tuple[int, int], small: tuple[int, int]) -> int:
    """The points along a side of a network pixel: a multiple of the sizes' ratio, rounded up, and at least `RASTER`."""
    ratio = max(1, *(-(-one // other) for one, other in zip(full, small, strict=True)))
    return ratio * -(-RASTER // ratio)


def _affine_boxes(boxes: Boxes, trace: NDArray[np.float64], shape: tuple[int, int]) -> Boxes:
    """(C, 4): the network pixels that an affine motion can bring into each mask's box, all zero where there are none."""
    back = np.linalg.inv(np.vstack([trace, [0, 0, 1]]))[:2]
    corners = np.stack([boxes[:, [1, 3, 1, 3]], boxes[:, [0, 0, 2, 2]], np.ones((len(boxes), 4))])  # x, y, 1 of four corners
    x, y = np.einsum("ij,jck->ick", back, corners)
    found = np.stack([np.floor(y.min(1)), np.floor(x.min(1)), np.ceil(y.max(1)) + 1, np.ceil(x.max(1)) + 1], 1)
    found = np.clip(found, 0, [*shape, *shape]).astype(np.int64)
    nothing = (boxes[:, 2] == boxes[:, 0]) | (found[:, :2] >= found[:, 2:]).any(1)
    return np.where(nothing[:, None], 0, found)


@kernel
def _tile_states(bits: Bytes, boxes: Boxes, offsets: NDArray[np.int64]) -> Bytes:
    """For each byte-wide, eight rows high tile of each packed mask, one class after the other, whether it is empty, full or mixed."""
    states = np.zeros(len(bits) // TILE + len(boxes) + (boxes[:, 3] - boxes[:, 1]).sum(), np.uint8)
    at = 0
    for index in range(len(boxes)):
        height, stride = boxes[index, 2] - boxes[index, 0], (boxes[index, 3] - boxes[index, 1] + 7) // 8
        for top in range(0, height, TILE):
            for column in range(stride):
                least, most = 255, 0
                for row in range(top, min(top + TILE, height)):
                    value = bits[offsets[index] + row * stride + column]
                    least &= value
                    most |= value
                full = least == 255 and top + TILE <= height
                states[at] = EMPTY if most == 0 else FULL if full else MIXED
                at += 1
    return states


@kernel
def _affine_coverage(
    bits: Bytes,
    boxes: Boxes,
    offsets: NDArray[np.int64],
    states: Bytes,
    trace: NDArray[np.float64],
    points: int,
    found: Boxes,
    values: Bytes,
) -> None:
    """Fill `values`, which are 0 at first, for the `found` boxes under an affine motion."""
    step_x, step_y = (trace[0, 0], trace[1, 0]), (trace[0, 1], trace[1, 1])  # at full resolution, to the next pixel right and below
    reach = (abs(step_x[0]) + abs(step_y[0])) / 2, (abs(step_x[1]) + abs(step_y[1])) / 2
    position, tiles = 0, 0
    for index in range(len(boxes)):
        size = (boxes[index, 2] - boxes[index, 0], boxes[index, 3] - boxes[index, 1])
        top, left, bottom, right = found[index]
        for row in range(top, bottom):
            x_row = step_y[0] * row + trace[0, 2] - boxes[index, 1]
            y_row = step_y[1] * row + trace[1, 2] - boxes[index, 0]
            start, stop = _crossing(x_row, step_x[0], size[1], reach[0], left, right)
            start, stop = _crossing(y_row, step_x[1], size[0], reach[1], start, stop)
            line = position + (row - top) * (right - left) - left
            for column in range(start, stop):
                x, y = x_row + step_x[0] * column, y_row + step_x[1] * column
                state = _state_around(states, tiles, size, x, y, reach)
                if state == FULL:
                    values[line + column] = 255
                elif state == MIXED:
                    values[line + column] = _share(bits, offsets[index], size, x, y, step_x, step_y, points)
        position += (bottom - top) * (right - left)
        tiles += ((size[0] + 7) >> 3) * ((size[1] + 7) >> 3)


@kernel
def _crossing(at: float, step: float, size: int, reach: float, start: int, stop: int) -> tuple[int, int]:
    """Of the columns start:stop, those for which at + step·column lies between -reach and size + reach, or a column beside them."""
    if abs(step) < 1e-9:
        return (start, stop) if -reach < at < size + reach else (start, start)
    one, other = (-reach - at) / step, (size + reach - at) / step
    start = max(start, int(np.floor(max(min(one, other), -1.0))))
    return start, min(stop, int(np.ceil(min(max(one, other), stop + 1.0))) + 1)


@kernel
def _state_around(states: Bytes, tiles: int, size: tuple[int, int], x: float, y: float, reach: tuple[float, float]) -> int:
    """The state of the mask in all of x, y ± reach in its box of `size` (height, width), MIXED where unsure; its tiles begin at `tiles`."""
    left, right, top, bottom = x - reach[0], x + reach[0], y - reach[1], y + reach[1]
    if right <= 0 or bottom <= 0 or left >= size[1] or top >= size[0]:
        return EMPTY
    if left < 0 or top < 0 or right >= size[1] or bottom >= size[0]:
        return MIXED
    x0, x1, y0, y1 = int(left) >> 3, int(right) >> 3, int(top) >> 3, int(bottom) >> 3  # shifts: TILE is 8, and // is slow
    if x1 - x0 > 1 or y1 - y0 > 1:
        return MIXED
    stride = (size[1] + 7) >> 3
    upper, lower = tiles + y0 * stride, tiles + y1 * stride
    state = states[upper + x0]
    same = state == states[upper + x1] and state == states[lower + x0] and state == states[lower + x1]
    return int(state) if same else MIXED


@kernel
def _share(
    bits: Bytes,
    offset: int,
    size: tuple[int, int],
    x: float,
    y: float,
    step_x: tuple[float, float],
    step_y: tuple[float, float],
    points: int,
) -> int:
    """The coverage (0..255) of one network pixel by one mask: its centre in the mask's box, the steps to the pixels right and below."""
    stride = (size[1] + 7) >> 3
    pitch = 1 / points
    first = pitch / 2 - 0.5
    inside = 0
    for down in range(points):
        below = first + down * pitch
        x_row, y_row = x + step_y[0] * below, y + step_y[1] * below
        for across in range(points):
            beside = first + across * pitch
            at_x, at_y = x_row + step_x[0] * beside, y_row + step_x[1] * beside
            if 0 <= at_x < size[1] and 0 <= at_y < size[0]:
                column = int(at_x)
                inside += bits[offset + int(at_y) * stride + (column >> 3)] >> (column & 7) & 1
    return (2 * 255 * inside + points * points) // (2 * points * points)


@kernel
def _grid_boxes(boxes: Boxes, places: NDArray[np.float32]) -> Boxes:
    """(C, 4): the tiles of network pixels that a motion given pixel by pixel brings into each mask's box, all zero where there are none."""
    height, width, _ = places.shape
    found = np.zeros((len(boxes), 4), np.int64)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            bottom, right = min(top + TILE, height), min(left + TILE, width)
            # with a pixel more on all sides, as far as a pixel at the rim can reach
            around = places[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1]
            low_x, high_x = _range(around[:, :, 0])
            low_y, high_y = _range(around[:, :, 1])
            for index in range(len(boxes)):
                y0, x0, y1, x1 = boxes[index]
                if x0 < high_x and low_x < x1 and y0 < high_y and low_y < y1:
                    empty = found[index, 2] == 0
                    found[index, 0] = top if empty else min(found[index, 0], top)
                    found[index, 1] = left if empty else min(found[index, 1], left)
                    found[index, 2], found[index, 3] = max(found[index, 2], bottom), max(found[index, 3], right)
    return found


@kernel
def _range(places: NDArray[np.float32]) -> tuple[float, float]:
    """The least and the greatest of those that are not outside; inf, -inf where all are."""
    low, high = np.inf, -np.inf
    for row in range(places.shape[0]):
        for column in range(places.shape[1]):
            if places[row, column] > OUTSIDE:
                low, high = min(low, places[row, column]), max(high, places[row, column])
    return low, high


@kernel
def _grid_coverage(
    bits: Bytes,
    boxes: Boxes,
    offsets: NDArray[np.int64],
    states: Bytes,
    places: NDArray[np.float32],
    points: int,
    found: Boxes,
    values: Bytes,
) -> None:
    """Fill `values`, which are 0 at first, for the `found` boxes under a motion given pixel by pixel."""
    position, tiles = 0, 0
    for index in range(len(boxes)):
        size = (boxes[index, 2] - boxes[index, 0], boxes[index, 3] - boxes[index, 1])
        top, left, bottom, right = found[index]
        for row in range(top, bottom):
            for column in range(left, right):
                x, y = places[row, column]
                if x <= OUTSIDE or y <= OUTSIDE:
                    continue
                x, y = x - boxes[index, 1], y - boxes[index, 0]
                step_x, step_y = _slope(places, row, column, 0, 1), _slope(places, row, column, 1, 0)
                reach = (abs(step_x[0]) + abs(step_y[0])) / 2, (abs(step_x[1]) + abs(step_y[1])) / 2
                state = _state_around(states, tiles, size, x, y, reach)
                at = position + (row - top) * (right - left) + column - left
                if state == FULL:
                    values[at] = 255
                elif state == MIXED:
                    values[at] = _share(bits, offsets[index], size, x, y, step_x, step_y, points)
        position += (bottom - top) * (right - left)
        tiles += ((size[0] + 7) >> 3) * ((size[1] + 7) >> 3)


@kernel
def _slope(places: NDArray[np.float32], row: int, column: int, down: int, across: int) -> tuple[float, float]:
    """How x and y change from pixel to pixel, along one axis of the grid.

    The lesser of the differences to both neighbours (minmod): at a seam, where a motion jumps, that is the one on the pixel's own side.
    """
    height, width, _ = places.shape
    x, y = float(places[row, column, 0]), float(places[row, column, 1])
    has_before = row >= down and column >= across and places[row - down, column - across, 0] > OUTSIDE
    has_after = row + down < height and column + across < width and places[row + down, column + across, 0] > OUTSIDE
    before, after = (0.0, 0.0), (0.0, 0.0)
    if has_before:
        before = x - places[row - down, column - across, 0], y - places[row - down, column - across, 1]
    if has_after:
        after = places[row + down, column + across, 0] - x, places[row + down, column + across, 1] - y
    if has_before and has_after:
        return _lesser(before[0], after[0]), _lesser(before[1], after[1])
    return before if has_before else after


@kernel
def _lesser(one: float, other: float) -> float:
    """The one nearer to 0, or 0 where their signs differ."""
    if one * other <= 0:
        return 0.0
    return one if abs(one) < abs(other) else other
