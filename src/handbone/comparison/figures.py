"""Pictures of two experiments: intervals of their difference, and crops whose layers can be switched."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from numpy.typing import NDArray

from handbone.cache.resize import UInt8Image
from handbone.comparison.side import Shown
from handbone.evaluation.bootstrap import Intervals
from handbone.masks.boxed import BoxedMasks, Mask
from handbone.report.figures import INK, PREDICTED_RGB, STYLE, TRUTH_RGB, jpeg_data_uri, scaled, svg_text

LONGEST = 512  # pixels of a crop's longer side
MARGIN = 16  # pixels around the masks of a crop, at full resolution
FEWEST = 96  # pixels of a crop's side, at full resolution, if the image has them
BETTER, WORSE, SAME = "#1b7f3b", "#c8500f", "#8a9099"

Window = tuple[int, int, int, int]


def intervals_svg(names: Sequence[str], intervals: Intervals) -> str:
    """Differences with their intervals as SVG text, in the order given: green beyond noise and better, orange and worse, grey within it."""
    signs = np.where(intervals.beyond_noise, np.sign(intervals.mean), 0)
    colours = [{1.0: BETTER, -1.0: WORSE}.get(sign, SAME) for sign in signs.tolist()]
    left, right = _axis_ends(intervals)
    with style.context(["default", STYLE]):  # from the default: a personal matplotlibrc changes nothing
        figure = Figure(figsize=(5.4, 0.2 * len(names) + 0.8), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=0.8)
        rows = range(len(names))
        axes.hlines(rows, np.maximum(intervals.low, left), np.minimum(intervals.high, right), colors=colours, linewidth=2)
        axes.scatter(intervals.mean, rows, c=colours, s=22, zorder=3)
        axes.set_yticks(rows, labels=list(names), parse_math=False)
        axes.set(xlim=(left, right), ylim=(len(names) - 0.4, -0.6), xlabel="difference of the mean Dice (second minus first)")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        return svg_text(figure)


def _axis_ends(intervals: Intervals) -> tuple[float, float]:
    """The ends of the axis, with 0 on it. Intervals of a class in which too few differ reach from -1 to 1: they would hide all others."""
    known = (intervals.low > -1) & (intervals.high < 1)
    values = np.concatenate([intervals.low[known], intervals.high[known], intervals.mean, [0.0]])
    margin = max(0.001, 0.08 * float(np.ptp(values)))
    return float(values.min()) - margin, float(values.max()) + margin


@dataclass(frozen=True)
class Layers:
    """Two crops as SVG: the image alone, and over it the layers of classes `missed`, `extra`, `truth` and `predicted`.

    shape: (h, w) in pixels at full resolution; scale: pixels of the crop per pixel there.
    """

    first: str
    second: str
    shape: tuple[int, int]
    scale: float


def layers(name: str, first: Shown, second: Shown) -> Layers:
    """Crops around the masks of both experiments. name: an id that the page has once."""
    window = crop_window([first.truth, first.predicted, second.truth, second.predicted])
    height, width = window[2] - window[0], window[3] - window[1]
    factor = min(1.0, LONGEST / max(height, width))
    size = max(1, round(height * factor)), max(1, round(width * factor))
    picture = jpeg_data_uri(_image_crop(second, window, size))
    image = f'<image id="{escape(name)}" width="{size[1]}" height="{size[0]}" href="{picture}"/>'
    again = f'<use href="#{escape(name)}"/>'
    return Layers(_svg(image, first, window, size), _svg(again, second, window, size), (height, width), factor)


def crop_window(masks: Sequence[BoxedMasks]) -> Window:
    """y0, x0, y1, x1 in pixels (ends exclusive) that hold all masks and a margin, inside of the image; the whole image without masks."""
    height, width = masks[0].shape
    boxes = np.concatenate([each.boxes[each.areas() > 0] for each in masks])
    if not len(boxes):
        return 0, 0, height, width
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    margin = np.maximum(MARGIN, -((high - low - FEWEST) // 2))
    (y0, x0), (y1, x1) = np.maximum(low - margin, 0).tolist(), np.minimum(high + margin, [height, width]).tolist()
    return y0, x0, y1, x1


def _image_crop(shown: Shown, window: Window, size: tuple[int, int]) -> UInt8Image:
    """The part of the image in `window`, which is in pixels of the masks -> (h, w, 3)."""
    ratio = np.array(shown.image.shape[:2]) / np.array(shown.truth.shape)
    (y0, x0), (y1, x1) = np.floor(window[:2] * ratio).astype(int), np.ceil(window[2:] * ratio).astype(int)
    return scaled(shown.image[y0:y1, x0:x1], *size)


def _svg(image: str, shown: Shown, window: Window, size: tuple[int, int]) -> str:
    truth, predicted = _planes(shown.truth, window), _planes(shown.predicted, window)
    parts = [
        image,
        _area("missed", np.asarray((truth & ~predicted).any(0)), TRUTH_RGB, size),
        _area("extra", np.asarray((predicted & ~truth).any(0)), PREDICTED_RGB, size),
        _outline("truth", truth, size),
        _outline("predicted", predicted, size),
    ]
    return f'<svg viewBox="0 0 {size[1]} {size[0]}" role="img">{"".join(parts)}</svg>'


def _planes(masks: BoxedMasks, window: Window) -> Mask:
    """-> (C, h, w) bool: the masks in the window, which holds all of them."""
    top, left, bottom, right = window
    planes = np.zeros((len(masks.crops), bottom - top, right - left), bool)
    for plane, (y0, x0, y1, x1), crop in zip(planes, masks.boxes, masks.crops, strict=True):
        if crop.size:
            plane[y0 - top : y1 - top, x0 - left : x1 - left] = crop
    return planes


def _area(layer: str, wrong: Mask, colour: tuple[int, int, int], size: tuple[int, int]) -> str:
    """(h, w) bool as an exact picture, transparent by the share of each pixel that is not wrong."""
    if not wrong.any():
        return ""
    share: NDArray[np.uint8] = cv2.resize(wrong.view(np.uint8) * np.uint8(150), size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
    bgra = np.dstack([np.full_like(share, value) for value in colour[::-1]] + [share])
    encoded, file = cv2.imencode(".png", bgra)
    if not encoded:
        raise ValueError(f"OpenCV cannot write a picture of {bgra.shape}")
    address = f"data:image/png;base64,{base64.b64encode(file.tobytes()).decode()}"
    return f'<image class="layer {layer}" width="{size[1]}" height="{size[0]}" href="{address}"/>'


def _outline(layer: str, planes: Mask, size: tuple[int, int]) -> str:
    """(C, h, w) bool as the path of all outlines, holes too."""
    scale = np.array(size[::-1]) / np.array(planes.shape[:0:-1])  # x, y
    pieces = list[str]()
    for plane in planes:
        contours, _ = cv2.findContours(plane.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        for contour in contours:
            corners = (cv2.approxPolyDP(contour, 0.35 / float(scale.max()), True)[:, 0] + 0.5) * scale
            pieces.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners) + "Z")
    return f'<path class="layer {layer}" d="{"".join(pieces)}"/>' if pieces else ""
