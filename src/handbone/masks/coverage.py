"""Full-resolution masks, warped as augmentation warps the image -> coverage at the network's size: the training target.

The masks themselves are never warped. Each network pixel is mapped back to full resolution, where the masks are looked up at a grid of
sample points inside the pixel (supersampling); the mean is its coverage. Without augmentation and at an integer ratio of the sizes, this
equals the area average exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.kernels import kernel
from handbone.masks.packed import PackedMasks

InverseWarp = NDArray[np.floating]
"""Where each network pixel comes from, in network pixels whose centres are integers: a (2, 3) affine matrix to apply to (x, y, 1), or
(h, w, 2), x and y for every pixel, at most `OUTSIDE` if the pixel comes from outside of the image."""
Boxes = NDArray[np.int64]
Bytes = NDArray[np.uint8]
IDENTITY = np.eye(2, 3)
SUPERSAMPLING = 4  # minimum number of sample points along a side of a network pixel
TILE = 8  # side in pixels of the blocks that are skipped or filled as a whole: one byte of a packed mask is that wide
EMPTY, MIXED, FULL = 0, 1, 2  # states of a tile
OUTSIDE = -1000.0  # network pixels


def coverage(
    masks: PackedMasks,
    shape: tuple[int, int],
    inverse_warp: InverseWarp = IDENTITY,
    points: int | None = None,
    mirrored: Sequence[int] | None = None,
) -> CroppedMaps:
    """C masks at full resolution, warped -> their coverage at the network's size `shape` (h, w).

    points: sample points along a side of a network pixel; None: `supersampling` of the two sizes.
    mirrored: for each class, the number of the class that a warp that mirrors turns into it; None: every class stays itself.
    """
    scale = np.array([masks.shape[1] / shape[1], masks.shape[0] / shape[0]])  # x, y
    boxes, offsets = masks.boxes.astype(np.int64), masks.offsets()
    states = _tile_states(masks.bits, boxes, offsets)
    points = points or supersampling(masks.shape, shape)
    if inverse_warp.ndim == 2:
        # from a network pixel's index to full resolution, where pixel p covers p to p + 1
        matrix = (inverse_warp + np.array([0, 0, 0.5])) * scale[:, None]
        warped = _affine_boxes(boxes, matrix, shape)
        values = np.zeros(int((warped[:, 2:] - warped[:, :2]).prod(1).sum()), np.uint8)
        _affine_coverage(masks.bits, boxes, offsets, states, matrix, points, warped, values)
    else:
        rows = inverse_warp.reshape(len(inverse_warp), -1).astype(np.float32) + np.float32(0.5)
        places = (rows * np.tile(scale.astype(np.float32), inverse_warp.shape[1])).reshape(inverse_warp.shape)  # long rows: NumPy is faster
        ranges = _tile_ranges(places)
        warped = _grid_boxes(boxes, ranges, shape)
        values = np.zeros(int((warped[:, 2:] - warped[:, :2]).prod(1).sum()), np.uint8)
        _grid_coverage(masks.bits, boxes, offsets, states, places, ranges, points, warped, values)
    count = _cut(warped, values)
    maps = CroppedMaps(shape, warped.astype(np.int32), values[:count].copy())
    return maps if mirrored is None or not is_mirrored(inverse_warp) else maps.reordered(mirrored)


def is_mirrored(inverse_warp: InverseWarp) -> bool:
    """Whether a warp reverses the orientation, as one flip does, and two flips or a rotation do not. A grid: at most of its pixels."""
    if inverse_warp.ndim == 2:
        return bool(np.linalg.det(inverse_warp[:, :2]) < 0)
    here, right, below = inverse_warp[:-1, :-1], inverse_warp[:-1, 1:], inverse_warp[1:, :-1]
    across, down = right - here, below - here
    signs = np.sign(across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0])
    known = (np.minimum(np.minimum(here, right), below) > OUTSIDE).all(-1)
    return bool(signs[known].sum() < 0)


def supersampling(full: tuple[int, int], small: tuple[int, int]) -> int:
    """Sample points along a side of a network pixel: a multiple of the sizes' ratio, rounded up, and at least `SUPERSAMPLING`."""
    ratio = max(1, *(-(-one // other) for one, other in zip(full, small, strict=True)))
    return ratio * -(-SUPERSAMPLING // ratio)


def _affine_boxes(boxes: Boxes, matrix: NDArray[np.float64], shape: tuple[int, int]) -> Boxes:
    """(C, 4): box of the network pixels that an affine warp can map into each mask's box; all zero if there are none."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    corners = np.stack([boxes[:, [1, 3, 1, 3]], boxes[:, [0, 0, 2, 2]], np.ones((len(boxes), 4))])  # x, y, 1 of four corners
    x, y = np.einsum("ij,jck->ick", inverse, corners)
    warped = np.stack([np.floor(y.min(1)), np.floor(x.min(1)), np.ceil(y.max(1)) + 1, np.ceil(x.max(1)) + 1], 1)
    warped = np.clip(warped, 0, [*shape, *shape]).astype(np.int64)
    empty = (boxes[:, 2] == boxes[:, 0]) | (warped[:, :2] >= warped[:, 2:]).any(1)
    return np.where(empty[:, None], 0, warped)


@kernel
def _tile_states(bits: Bytes, boxes: Boxes, offsets: NDArray[np.int64]) -> Bytes:
    """EMPTY, FULL or MIXED for each tile (one byte wide, eight rows high) of each packed mask, one class after the other."""
    states = np.zeros(len(bits) // TILE + len(boxes) + (boxes[:, 3] - boxes[:, 1]).sum(), np.uint8)
    at = 0
    for index in range(len(boxes)):
        height, stride = boxes[index, 2] - boxes[index, 0], (boxes[index, 3] - boxes[index, 1] + 7) // 8
        for top in range(0, height, TILE):
            for column in range(stride):
                all_set, any_set = 255, 0
                for row in range(top, min(top + TILE, height)):
                    value = bits[offsets[index] + row * stride + column]
                    all_set &= value
                    any_set |= value
                full = all_set == 255 and top + TILE <= height
                states[at] = EMPTY if any_set == 0 else FULL if full else MIXED
                at += 1
    return states


@kernel
def _affine_coverage(
    bits: Bytes,
    boxes: Boxes,
    offsets: NDArray[np.int64],
    states: Bytes,
    matrix: NDArray[np.float64],
    points: int,
    warped: Boxes,
    values: Bytes,
) -> None:
    """Fill `values`, all 0 before, with the contents of the `warped` boxes under an affine warp."""
    # to the next network pixel right and below, in full-resolution pixels
    step_x, step_y = (matrix[0, 0], matrix[1, 0]), (matrix[0, 1], matrix[1, 1])
    reach = (abs(step_x[0]) + abs(step_y[0])) / 2, (abs(step_x[1]) + abs(step_y[1])) / 2
    position, tiles = 0, 0
    for index in range(len(boxes)):
        size = (boxes[index, 2] - boxes[index, 0], boxes[index, 3] - boxes[index, 1])
        top, left, bottom, right = warped[index]
        for row in range(top, bottom):
            x_row = step_y[0] * row + matrix[0, 2] - boxes[index, 1]
            y_row = step_y[1] * row + matrix[1, 2] - boxes[index, 0]
            start, stop = _crossing(x_row, step_x[0], size[1], reach[0], left, right)
            start, stop = _crossing(y_row, step_x[1], size[0], reach[1], start, stop)
            line = position + (row - top) * (right - left) - left
            for column in range(start, stop):
                x, y = x_row + step_x[0] * column, y_row + step_x[1] * column
                state = _state_around(states, tiles, size, x, y, reach)
                if state == FULL:
                    values[line + column] = 255
                elif state == MIXED:
                    values[line + column] = _pixel_coverage(bits, offsets[index], size, x, y, step_x, step_y, points)
        position += (bottom - top) * (right - left)
        tiles += ((size[0] + 7) >> 3) * ((size[1] + 7) >> 3)


@kernel
def _crossing(at: float, step: float, size: int, reach: float, start: int, stop: int) -> tuple[int, int]:
    """The part of the columns start:stop where at + step·column is between -reach and size + reach, or one column more per end."""
    if abs(step) < 1e-9:
        return (start, stop) if -reach < at < size + reach else (start, start)
    one, other = (-reach - at) / step, (size + reach - at) / step
    start = max(start, int(np.floor(max(min(one, other), -1.0))))
    return start, min(stop, int(np.ceil(min(max(one, other), stop + 1.0))) + 1)


@kernel
def _state_around(states: Bytes, tiles: int, size: tuple[int, int], x: float, y: float, reach: tuple[float, float]) -> int:
    """State of a mask in the whole area x ± reach, y ± reach, MIXED if unsure; size: (height, width) of its box; tiles: its first tile."""
    left, right, top, bottom = x - reach[0], x + reach[0], y - reach[1], y + reach[1]
    if right <= 0 or bottom <= 0 or left >= size[1] or top >= size[0]:
        return EMPTY
    if left < 0 or top < 0 or right >= size[1] or bottom >= size[0]:
        return MIXED
    x0, x1, y0, y1 = int(left) >> 3, int(right) >> 3, int(top) >> 3, int(bottom) >> 3  # shifts, as TILE is 8 and // is slow
    if x1 - x0 > 1 or y1 - y0 > 1:
        return MIXED
    stride = (size[1] + 7) >> 3
    upper, lower = tiles + y0 * stride, tiles + y1 * stride
    state = states[upper + x0]
    same = state == states[upper + x1] and state == states[lower + x0] and state == states[lower + x1]
    return int(state) if same else MIXED


@kernel
def _pixel_coverage(
    bits: Bytes,
    offset: int,
    size: tuple[int, int],
    x: float,
    y: float,
    step_x: tuple[float, float],
    step_y: tuple[float, float],
    points: int,
) -> int:
    """Coverage (0..255) of one network pixel by one mask; x, y: its centre in the mask's box; step_x, step_y: to its two neighbours."""
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
def _tile_ranges(places: NDArray[np.float32]) -> NDArray[np.float64]:
    """Range of x and of y (x0, x1, y0, y1) as far as the pixels of each tile that are not `OUTSIDE` reach; inf, -inf if all are.

    A pixel reaches half of the way to its neighbours, which are in the range, and beyond it only where it has none on one side.
    """
    height, width, _ = places.shape
    ranges = np.empty(((height + TILE - 1) // TILE, (width + TILE - 1) // TILE, 4))
    for down in range(ranges.shape[0]):
        for across in range(ranges.shape[1]):
            top, left = down * TILE, across * TILE
            # one pixel more on all sides, as far as a pixel on the tile's border can reach
            around = places[max(top - 1, 0) : top + TILE + 1, max(left - 1, 0) : left + TILE + 1]
            on_border = down == 0 or across == 0 or top + TILE >= height or left + TILE >= width
            for axis in range(2):
                low, high, any_outside = _range(around[:, :, axis])
                beyond = _longest_step(around[:, :, axis]) if on_border or any_outside else 0.0
                ranges[down, across, 2 * axis], ranges[down, across, 2 * axis + 1] = low - beyond, high + beyond
    return ranges


@kernel
def _meets(box: NDArray[np.int64], place: NDArray[np.float64]) -> bool:
    """Whether places in this range can be in a mask's box."""
    return bool(box[1] < place[1] and place[0] < box[3] and box[0] < place[3] and place[2] < box[2])


@kernel
def _grid_boxes(boxes: Boxes, ranges: NDArray[np.float64], shape: tuple[int, int]) -> Boxes:
    """(C, 4): box of the tiles of network pixels that a warp given pixel by pixel maps into each mask's box; all zero if there are none."""
    warped = np.zeros((len(boxes), 4), np.int64)
    for down in range(ranges.shape[0]):
        for across in range(ranges.shape[1]):
            top, left = down * TILE, across * TILE
            bottom, right = min(top + TILE, shape[0]), min(left + TILE, shape[1])
            for index in range(len(boxes)):
                if _meets(boxes[index], ranges[down, across]):
                    empty = warped[index, 2] == 0
                    warped[index, 0] = top if empty else min(warped[index, 0], top)
                    warped[index, 1] = left if empty else min(warped[index, 1], left)
                    warped[index, 2], warped[index, 3] = max(warped[index, 2], bottom), max(warped[index, 3], right)
    return warped


@kernel
def _range(places: NDArray[np.float32]) -> tuple[float, float, bool]:
    """Minimum and maximum of the places that are not `OUTSIDE`, inf, -inf if all are; and whether any is."""
    low, high, any_outside = np.inf, -np.inf, False
    for row in range(places.shape[0]):
        for column in range(places.shape[1]):
            if places[row, column] > OUTSIDE:
                low, high = min(low, places[row, column]), max(high, places[row, column])
            else:
                any_outside = True
    return low, high, any_outside


@kernel
def _longest_step(places: NDArray[np.float32]) -> float:
    """The largest difference of two neighbours that are not `OUTSIDE`."""
    longest = 0.0
    for row in range(places.shape[0]):
        for column in range(places.shape[1]):
            here = places[row, column]
            for down in range(2):
                y, x = row + down, column + 1 - down
                if y < places.shape[0] and x < places.shape[1] and min(here, places[y, x]) > OUTSIDE:
                    longest = max(longest, abs(places[y, x] - here))
    return longest


@kernel
def _grid_coverage(
    bits: Bytes,
    boxes: Boxes,
    offsets: NDArray[np.int64],
    states: Bytes,
    places: NDArray[np.float32],
    ranges: NDArray[np.float64],
    points: int,
    warped: Boxes,
    values: Bytes,
) -> None:
    """Fill `values`, all 0 before, with the contents of the `warped` boxes under a warp given pixel by pixel."""
    position, tiles = 0, 0
    for index in range(len(boxes)):
        size = (boxes[index, 2] - boxes[index, 0], boxes[index, 3] - boxes[index, 1])
        top, left, bottom, right = warped[index]
        for row in range(top, bottom):
            line = position + (row - top) * (right - left) - left
            for start in range(left, right, TILE):  # boxes begin where tiles do
                if not _meets(boxes[index], ranges[row >> 3, start >> 3]):
                    continue
                for column in range(start, min(start + TILE, right)):
                    x, y = places[row, column]
                    if x <= OUTSIDE or y <= OUTSIDE:
                        continue
                    x, y = x - boxes[index, 1], y - boxes[index, 0]
                    step_x, step_y = _slope(places, row, column, 0, 1), _slope(places, row, column, 1, 0)
                    reach = (abs(step_x[0]) + abs(step_y[0])) / 2, (abs(step_x[1]) + abs(step_y[1])) / 2
                    state = _state_around(states, tiles, size, x, y, reach)
                    if state == FULL:
                        values[line + column] = 255
                    elif state == MIXED:
                        values[line + column] = _pixel_coverage(bits, offsets[index], size, x, y, step_x, step_y, points)
        position += (bottom - top) * (right - left)
        tiles += ((size[0] + 7) >> 3) * ((size[1] + 7) >> 3)


@kernel
def _cut(boxes: Boxes, values: Bytes) -> int:
    """Cut the boxes to what is not 0 in them, and move what is left of `values` to the front -> how many that are.

    A box around a warped box is up to twice as large as its content, and every value is sent to the device.
    """
    position, count = 0, 0
    for index in range(len(boxes)):
        y0, x0, height, width = boxes[index, 0], boxes[index, 1], boxes[index, 2] - boxes[index, 0], boxes[index, 3] - boxes[index, 1]
        crop = values[position : position + height * width].reshape((height, width))
        position += height * width
        top, left, bottom, right = _content(crop)
        for row in range(top, bottom):
            for column in range(left, right):
                values[count] = crop[row, column]
                count += 1
        boxes[index, 0], boxes[index, 1], boxes[index, 2], boxes[index, 3] = y0 + top, x0 + left, y0 + bottom, x0 + right
        if bottom == 0:
            boxes[index] = 0
    return count


@kernel
def _content(crop: Bytes) -> tuple[int, int, int, int]:
    """(h, w) -> y0, x0, y1, x1 of what is not 0, ends exclusive; all zero if nothing is."""
    height, width = crop.shape
    top, left, bottom, right = 0, width, 0, 0
    for row in range(height):
        any_set = np.uint8(0)
        for column in range(width):  # without an exit at the first hit, so that the compiler handles many pixels at a time
            any_set |= crop[row, column]
        if any_set:
            top, bottom = row if bottom == 0 else top, row + 1
            start, stop = 0, width
            while start < left and crop[row, start] == 0:
                start += 1
            while stop > right and crop[row, stop - 1] == 0:
                stop -= 1
            left, right = start, stop
    return (top, left, bottom, right) if bottom else (0, 0, 0, 0)


@kernel
def _slope(places: NDArray[np.float32], row: int, column: int, down: int, across: int) -> tuple[float, float]:
    """How x and y change per pixel along one axis of the grid (down, across: 1, 0 or 0, 1).

    The minmod of the differences to both neighbours: at a seam, where the warp jumps, that is the difference on the pixel's side of it.
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
        return _minmod(before[0], after[0]), _minmod(before[1], after[1])
    return before if has_before else after


@kernel
def _minmod(one: float, other: float) -> float:
    """The slope that is nearer to 0, or 0 if the signs differ (a flux limiter: Roe, Annual Review of Fluid Mechanics 18, 1986)."""
    if one * other <= 0:
        return 0.0
    return one if abs(one) < abs(other) else other
