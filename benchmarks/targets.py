"""`python -m benchmarks.targets`: ways to the coverage that a moved mask has at the network's size, by time, bytes and exactness."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, NamedTuple
from unittest import mock

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.scene import SIDE, Scene, scene
from benchmarks.timing import elapsed_ms
from handbone.dataset.annotation import Polygon, read_polygons
from handbone.masks.boxed import BoxedMasks, Mask
from handbone.masks.coverage import Motion, coverage
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.training.data.augment import Augmenter

DRAWS, SIZES, FINE = 8, (512, 1024), 16
INVERSE = cv2.WARP_INVERSE_MAP
Planes = NDArray[np.float32]  # (C, S, S) coverage, 0..1
Matrix = NDArray[np.float64]  # (2, 3)


class Way(NamedTuple):
    """host: a motion -> what goes to the device, and its bytes; device: what the device makes of it, (C, S, S) coverage."""

    name: str
    host: Callable[[Any], Any]
    device: Callable[[Any], Planes]
    sent: Callable[[Any], int]


@dataclass(frozen=True)
class Figures:
    """One way with one motion: ms on the host and for the device's part (on this CPU), bytes, errors of coverage."""

    host_ms: float
    device_ms: float
    sent: int
    partial_error: float
    worst_class: float


def main() -> None:
    """Print a table for each size."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print("two to four minutes", file=sys.stderr)
    print("| size | way | ms host | ms device's part, on this CPU | kB to the device | error of partial pixels | worst class, 1 - Dice |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    with scene(quick=True) as made:
        for size in SIZES:
            for name, figures in _compare(made, size).items():
                print(f"| {size} | {name} | {_medians(figures)} |", flush=True)


def _compare(made: Scene, size: int) -> dict[str, list[Figures]]:
    augmenter = Augmenter(made.params.train.augment, 1)
    blank = np.zeros((size, size), np.uint8)
    figures: dict[str, list[Figures]] = {}
    for draw in range(DRAWS):
        index = draw % len(made.files)
        _, motion = augmenter(blank, draw)
        with mock.patch("handbone.masks.coverage.raster", return_value=FINE):
            reference = _dense(coverage(made.masks(index), (size, size), motion), size)
        for way in _ways(made, index, size):
            figures.setdefault(way.name, []).append(_figures(way, motion, reference))
    return figures


def _ways(made: Scene, index: int, size: int) -> list[Way]:
    """What can be made ready before a motion is drawn, is."""
    masks, boxed, sample = made.masks(index), made.masks(index).unpack(), made.samples[index]
    assert sample.annotation is not None
    polygons, _ = read_polygons(sample.annotation, made.classes, (SIDE, SIDE), False)
    planes = [
        Way(f"packed plane, k = {k}", partial(_move_plane, _plane(boxed, k * size), k), partial(_unpack, len(polygons), k), _nbytes)
        for k in (2, 4)
        if k * size <= SIDE
    ]
    return [
        Way("points through the motion (ours)", partial(_ours, masks, size), partial(_dense, size=size), _sent),
        *planes,
        Way("coverage warped linearly", partial(_warp, *_crops(boxed.dense(), size), size), partial(_dense, size=size), _sent),
        Way("polygons moved and painted at 4 S", partial(_paint, polygons, size), partial(_dense, size=size), _sent),
    ]


def _figures(way: Way, motion: Motion, reference: Planes) -> Figures:
    ready = way.host(motion)
    found = way.device(ready)
    some = (reference > 0) & (reference < 1)
    overlap = np.minimum(found, reference).sum((1, 2))
    loss = 1 - 2 * overlap / np.maximum(found.sum((1, 2)) + reference.sum((1, 2)), 1e-9)
    host, device = elapsed_ms(lambda: way.host(motion)), elapsed_ms(lambda: way.device(ready))
    return Figures(host, device, way.sent(ready), float(np.abs(found - reference)[some].mean()), float(loss.max()))


def _medians(figures: Sequence[Figures]) -> str:
    host, device, sent = (median(getattr(own, name) for own in figures) for name in ("host_ms", "device_ms", "sent"))
    error, worst = (median(getattr(own, name) for own in figures) for name in ("partial_error", "worst_class"))
    return f"{host:.1f} | {device:.1f} | {sent / 1e3:.0f} | {error:.4f} | {worst:.4f}"


def _ours(masks: PackedMasks, size: int, motion: Matrix) -> CroppedMaps:
    return coverage(masks, (size, size), motion)


def _dense(found: CroppedMaps, size: int) -> Planes:
    """Boxed coverage -> (C, size, size)."""
    planes, at = np.zeros((len(found.boxes), size, size), np.float32), 0
    for plane, (y0, x0, y1, x1) in zip(planes, found.boxes.tolist(), strict=True):
        end = at + (y1 - y0) * (x1 - x0)
        plane[y0:y1, x0:x1] = found.values[at:end].reshape(y1 - y0, x1 - x0) / np.float32(255)
        at = end
    return planes


def _sent(found: CroppedMaps) -> int:
    return int(found.values.nbytes + found.boxes.nbytes)


def _nbytes(plane: NDArray[np.uint8]) -> int:
    return int(plane.nbytes)


def _plane(masks: BoxedMasks, side: int) -> NDArray[np.uint8]:
    """Full resolution, each pixel's centre sampled -> (side, side, 4) uint8, a bit a class."""
    centres = ((np.arange(side) + 0.5) * SIDE / side).astype(int)
    plane = np.zeros((side, side, 4), np.uint8)
    for index, mask in enumerate(masks.dense()):
        plane[..., index // 8] |= mask[np.ix_(centres, centres)].astype(np.uint8) << (index % 8)
    return plane


def _scaled(motion: Matrix, k: int) -> Matrix:
    """The motion in pixels a k-th as large, whose centres are whole numbers as well."""
    linear = motion[:, :2]
    shift = k * (linear @ np.full(2, 0.5 / k - 0.5) + motion[:, 2] + 0.5) - 0.5
    return np.hstack([linear, shift[:, None]])


def _move_plane(plane: NDArray[np.uint8], k: int, motion: Matrix) -> NDArray[np.uint8]:
    side = len(plane)
    return np.asarray(cv2.warpAffine(plane, _scaled(motion, k), (side, side), flags=cv2.INTER_NEAREST | INVERSE), np.uint8)


def _unpack(classes: int, k: int, plane: NDArray[np.uint8]) -> Planes:
    """(k·S, k·S, 4) -> (C, S, S): the mean of k x k bits; 255 / k² is rounded to a whole number."""
    side = len(plane) // k
    bits = [(plane[..., index // 8] >> (index % 8) & 1) * np.uint8(255) for index in range(classes)]
    return np.stack([cv2.resize(own, (side, side), interpolation=cv2.INTER_AREA) for own in bits]) / np.float32(255)


def _crops(masks: Mask, size: int) -> tuple[NDArray[np.int64], list[NDArray[np.uint8]]]:
    """(C, H, W) -> (C, 4) boxes and crops of area-averaged coverage at the network's size."""
    boxes, crops = [], []
    for mask in masks:
        plane = cv2.resize(mask.astype(np.uint8) * 255, (size, size), interpolation=cv2.INTER_AREA)
        x, y, width, height = cv2.boundingRect(plane)
        boxes.append((y, x, y + height, x + width))
        crops.append(np.ascontiguousarray(plane[y : y + height, x : x + width]))
    return np.array(boxes, np.int64), crops


def _forward(motion: Matrix) -> Matrix:
    """From where a pixel comes -> where it goes."""
    return np.asarray(np.linalg.inv(np.vstack([motion, [0, 0, 1]]))[:2])


def _bounds(points: NDArray[np.float64], size: int) -> tuple[int, int, int, int]:
    """(n, 2) x, y -> y0, x0, y1, x1 of the pixels around them."""
    x0, y0 = np.clip(np.floor(points.min(0)) - 1, 0, size).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(points.max(0)) + 2, 0, size).astype(int).tolist()
    return y0, x0, max(y0, y1), max(x0, x1)


def _joined(boxes: Sequence[tuple[int, int, int, int]], crops: Sequence[NDArray[np.uint8]]) -> CroppedMaps:
    return CroppedMaps(np.array(boxes, np.int32), np.concatenate([crop.ravel() for crop in crops]))


def _warp(boxes: NDArray[np.int64], crops: Sequence[NDArray[np.uint8]], size: int, motion: Matrix) -> CroppedMaps:
    """Each class's crop, warped into the box that its corners move to."""
    forward, found, moved = _forward(motion), [], []
    for (y0, x0, y1, x1), crop in zip(boxes.tolist(), crops, strict=True):
        corners = np.array([[x0 - 1, y0 - 1], [x1, y0 - 1], [x0 - 1, y1], [x1, y1]])
        top, left, bottom, right = own = _bounds(corners @ forward[:, :2].T + forward[:, 2], size)
        found.append(own)
        shift = motion @ (left, top, 1) - (x0, y0)
        matrix = np.hstack([motion[:, :2], shift[:, None]])
        inside = bottom > top and right > left
        warped = cv2.warpAffine(crop, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR | INVERSE) if inside else crop[:0]
        moved.append(np.asarray(warped, np.uint8))
    return _joined(found, moved)


def _paint(polygons: Sequence[Sequence[Polygon]], size: int, motion: Matrix) -> CroppedMaps:
    """Each class's polygons, moved as points, painted four times as large and averaged."""
    forward, ratio, found, painted = _forward(motion), SIDE / size, [], []
    for own in polygons:
        moved = [((points + 0.5) / ratio - 0.5) @ forward[:, :2].T + forward[:, 2] for points in own]
        top, left, bottom, right = box = _bounds(np.concatenate(moved), size)
        canvas = np.zeros((4 * (bottom - top), 4 * (right - left)), np.uint8)
        for points in moved:
            fine = 4 * (points - (left, top) + 0.5) - 0.5
            cv2.fillPoly(canvas, [np.rint(fine * 16).astype(np.int32)], (255,), shift=4)
        found.append(box)
        small = cv2.resize(canvas, (right - left, bottom - top), interpolation=cv2.INTER_AREA) if canvas.size else canvas[:0]
        painted.append(np.asarray(small, np.uint8))
    return _joined(found, painted)


if __name__ == "__main__":
    main()
