"""`python -m benchmarks.targets`: ways to compute the coverage of a warped mask at the network's size, by time, bytes and error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.scene import SIDE, Scene, scene
from benchmarks.timing import elapsed_ms
from handbone.dataset.annotation import read_polygons
from handbone.masks.boxed import BoxedMasks, Mask
from handbone.masks.coverage import InverseWarp, coverage
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.masks.rasterize import Polygon
from handbone.training.data.augment import Augmenter

DRAWS, SIZES = 8, (512, 1024)
FINE = 16  # points along a side of a network pixel, for the reference
INVERSE = cv2.WARP_INVERSE_MAP
Planes = NDArray[np.float32]  # (C, S, S) coverage, 0..1
Matrix = NDArray[np.float64]  # (2, 3)


class Way(NamedTuple):
    """host: an inverse warp -> what is sent to the device; device: that -> (C, S, S) coverage; sent: that -> its bytes."""

    name: str
    host: Callable[[Any], Any]
    device: Callable[[Any], Planes]
    sent: Callable[[Any], int]


@dataclass(frozen=True)
class Figures:
    """One way with one warp: ms on the host and for the device's part (on this CPU), bytes sent, errors of the coverage."""

    host_ms: float
    device_ms: float
    sent: int
    partial_error: float
    worst_class: float


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print("This takes two to four minutes.", file=sys.stderr)
    print("| size | way | ms host | ms device's part, on this CPU | kB to the device | error of partial pixels | worst class, 1 - Dice |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    with scene(quick=True) as hands:
        for size in SIZES:
            for name, figures in _compare(hands, size).items():
                print(f"| {size} | {name} | {_medians(figures)} |", flush=True)


def _compare(hands: Scene, size: int) -> dict[str, list[Figures]]:
    """The figures of each way, one for each draw of the augmentation."""
    augmenter = Augmenter(hands.params.train.augment, 1)
    blank = np.zeros((size, size), np.uint8)
    figures: dict[str, list[Figures]] = {}
    for draw in range(DRAWS):
        index = draw % len(hands.files)
        _, warp = augmenter(blank, draw)
        reference = _dense(coverage(hands.masks(index), (size, size), warp, FINE), size)
        for way in _ways(hands, index, size):
            figures.setdefault(way.name, []).append(_figures(way, warp, reference))
    return figures


def _ways(hands: Scene, index: int, size: int) -> list[Way]:
    """All ways; what does not depend on the warp is prepared here and not timed."""
    masks, boxed, sample = hands.masks(index), hands.masks(index).unpack(), hands.samples[index]
    assert sample.annotation is not None
    polygons, _ = read_polygons(sample.annotation, hands.classes, (SIDE, SIDE), False)
    planes = [
        Way(f"packed plane, k = {k}", partial(_warp_plane, _plane(boxed, k * size), k), partial(_unpack, len(polygons), k), _nbytes)
        for k in (2, 4)
        if k * size <= SIDE
    ]
    return [
        Way("points through the warp (ours)", partial(_ours, masks, size), partial(_dense, size=size), _sent),
        *planes,
        Way("coverage warped linearly", partial(_warp_crops, *_crops(boxed.dense(), size), size), partial(_dense, size=size), _sent),
        Way("polygons warped and filled at 4 S", partial(_paint, polygons, size), partial(_dense, size=size), _sent),
    ]


def _figures(way: Way, warp: InverseWarp, reference: Planes) -> Figures:
    sent = way.host(warp)
    found = way.device(sent)
    some = (reference > 0) & (reference < 1)
    overlap = np.minimum(found, reference).sum((1, 2))
    loss = 1 - 2 * overlap / np.maximum(found.sum((1, 2)) + reference.sum((1, 2)), 1e-9)
    host, device = elapsed_ms(lambda: way.host(warp)), elapsed_ms(lambda: way.device(sent))
    return Figures(host, device, way.sent(sent), float(np.abs(found - reference)[some].mean()), float(loss.max()))


def _medians(figures: Sequence[Figures]) -> str:
    host, device, sent = (median(getattr(each, name) for each in figures) for name in ("host_ms", "device_ms", "sent"))
    error, worst = (median(getattr(each, name) for each in figures) for name in ("partial_error", "worst_class"))
    return f"{host:.1f} | {device:.1f} | {sent / 1e3:.0f} | {error:.4f} | {worst:.4f}"


def _ours(masks: PackedMasks, size: int, warp: Matrix) -> CroppedMaps:
    return coverage(masks, (size, size), warp)


def _dense(found: CroppedMaps, size: int) -> Planes:
    """Cropped coverage -> (C, size, size)."""
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
    """Masks sampled at the centre of each pixel -> (side, side, 4) uint8, one bit per class."""
    centres = ((np.arange(side) + 0.5) * SIDE / side).astype(int)
    plane = np.zeros((side, side, 4), np.uint8)
    for index, mask in enumerate(masks.dense()):
        plane[..., index // 8] |= mask[np.ix_(centres, centres)].astype(np.uint8) << (index % 8)
    return plane


def _scaled(warp: Matrix, k: int) -> Matrix:
    """The same warp in the coordinates of an image k times as large, whose pixel centres are integers as well."""
    linear = warp[:, :2]
    shift = k * (linear @ np.full(2, 0.5 / k - 0.5) + warp[:, 2] + 0.5) - 0.5
    return np.hstack([linear, shift[:, None]])


def _warp_plane(plane: NDArray[np.uint8], k: int, warp: Matrix) -> NDArray[np.uint8]:
    side = len(plane)
    return np.asarray(cv2.warpAffine(plane, _scaled(warp, k), (side, side), flags=cv2.INTER_NEAREST | INVERSE), np.uint8)


def _unpack(classes: int, k: int, plane: NDArray[np.uint8]) -> Planes:
    """(k·S, k·S, 4) -> (C, S, S): the mean of k x k bits, rounded to a multiple of 1 / 255."""
    side = len(plane) // k
    bits = [(plane[..., index // 8] >> (index % 8) & 1) * np.uint8(255) for index in range(classes)]
    return np.stack([cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA) for plane in bits]) / np.float32(255)


def _crops(masks: Mask, size: int) -> tuple[NDArray[np.int64], list[NDArray[np.uint8]]]:
    """(C, H, W) -> (C, 4) boxes, and C crops of area-averaged coverage at the network's size."""
    boxes, crops = [], []
    for mask in masks:
        plane = cv2.resize(mask.astype(np.uint8) * 255, (size, size), interpolation=cv2.INTER_AREA)
        x, y, width, height = cv2.boundingRect(plane)
        boxes.append((y, x, y + height, x + width))
        crops.append(np.ascontiguousarray(plane[y : y + height, x : x + width]))
    return np.array(boxes, np.int64), crops


def _forward(warp: Matrix) -> Matrix:
    """The inverse of an inverse warp: where each pixel goes."""
    return np.asarray(np.linalg.inv(np.vstack([warp, [0, 0, 1]]))[:2])


def _bounds(points: NDArray[np.float64], size: int) -> tuple[int, int, int, int]:
    """(n, 2) points x, y -> y0, x0, y1, x1 of a box of pixels that holds them."""
    x0, y0 = np.clip(np.floor(points.min(0)) - 1, 0, size).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(points.max(0)) + 2, 0, size).astype(int).tolist()
    return y0, x0, max(y0, y1), max(x0, x1)


def _joined(boxes: Sequence[tuple[int, int, int, int]], crops: Sequence[NDArray[np.uint8]], size: int) -> CroppedMaps:
    return CroppedMaps((size, size), np.array(boxes, np.int32), np.concatenate([crop.ravel() for crop in crops]))


def _warp_crops(boxes: NDArray[np.int64], crops: Sequence[NDArray[np.uint8]], size: int, warp: Matrix) -> CroppedMaps:
    """The crop of each class, warped linearly into the box of its warped corners."""
    forward, found, moved = _forward(warp), [], []
    for (y0, x0, y1, x1), crop in zip(boxes.tolist(), crops, strict=True):
        corners = np.array([[x0 - 1, y0 - 1], [x1, y0 - 1], [x0 - 1, y1], [x1, y1]])
        top, left, bottom, right = box = _bounds(corners @ forward[:, :2].T + forward[:, 2], size)
        found.append(box)
        shift = warp @ (left, top, 1) - (x0, y0)
        matrix = np.hstack([warp[:, :2], shift[:, None]])
        inside = bottom > top and right > left
        warped = cv2.warpAffine(crop, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR | INVERSE) if inside else crop[:0]
        moved.append(np.asarray(warped, np.uint8))
    return _joined(found, moved, size)


def _paint(polygons: Sequence[Sequence[Polygon]], size: int, warp: Matrix) -> CroppedMaps:
    """The polygons of each class, their points warped, filled at four times the size and averaged."""
    forward, ratio, found, painted = _forward(warp), SIDE / size, [], []
    for shapes in polygons:
        moved = [((points + 0.5) / ratio - 0.5) @ forward[:, :2].T + forward[:, 2] for points in shapes]
        top, left, bottom, right = box = _bounds(np.concatenate(moved), size)
        canvas = np.zeros((4 * (bottom - top), 4 * (right - left)), np.uint8)
        for points in moved:
            fine = 4 * (points - (left, top) + 0.5) - 0.5
            cv2.fillPoly(canvas, [np.rint(fine * 16).astype(np.int32)], (255,), shift=4)
        found.append(box)
        small = cv2.resize(canvas, (right - left, bottom - top), interpolation=cv2.INTER_AREA) if canvas.size else canvas[:0]
        painted.append(np.asarray(small, np.uint8))
    return _joined(found, painted, size)


if __name__ == "__main__":
    main()
