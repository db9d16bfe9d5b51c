"""Pictures of the report: a case with its errors, training curves, Dice per class. Equal input gives equal bytes."""

from __future__ import annotations

import base64
import math
import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from handbone.cache.resize import UInt8Image
from handbone.masks.boxed import BoxedMasks
from handbone.masks.runs import RunLengthMasks

Colour = tuple[int, int, int]

# The two colours add up to white, so outlines that agree are white.
TRUTH_RGB: Colour = (20, 225, 80)
PREDICTED_RGB: Colour = (255, 40, 210)
ERROR_TINT = 0.5
MAX_LABELS = 3
LABEL_BELOW = 0.8  # Dice
FONT_SCALE = 0.45  # OpenCV's: capitals of about 10 pixels
LABEL_MIN_SIDE = 320  # pixels of the longer side; a smaller picture has no room for names

FOLD_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#4d4d4d", "#d55e00", "#56b4e9", "#6b4fa0")
VALIDATION_COLOUR, TEST_COLOUR, INK = "#7ba3c9", "#c8500f", "#3a3f45"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "handbone",
    # Text stays text: the reader's browser has glyphs for class names of any script, matplotlib's font does not.
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "grid.color": "#dde1e6",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
}


def overlay(image: UInt8Image, truth: BoxedMasks, predicted: BoxedMasks, classes: Sequence[str], longest: int = 640) -> UInt8Image:
    """Truth and prediction of one (H, W) image -> (h, w, 3) RGB, the longer side at most `longest` pixels.

    image: (H, W) or (H, W, 3) RGB, or the same image at any other size; classes: C names of the C masks.
    Outlines: truth green, prediction magenta, both white. Areas: missed truth green, prediction without truth magenta.
    The few classes with the lowest Dice are labelled beside their masks.
    """
    scale = min(1.0, longest / max(truth.shape))
    height, width = (max(1, round(side * scale)) for side in truth.shape)
    canvas = scaled(image, height, width).astype(np.float32)
    for masks, others, colour in [(truth, predicted, TRUTH_RGB), (predicted, truth, PREDICTED_RGB)]:
        _tint(canvas, _only(masks, others), colour)
    _draw_outlines(canvas, truth, predicted)
    picture = canvas.round().astype(np.uint8)
    if max(height, width) >= LABEL_MIN_SIDE:
        _label_worst(picture, truth, predicted, classes)
    return picture


def png_data_uri(rgb: UInt8Image) -> str:
    """(h, w, 3) RGB -> a PNG as a `data:` address."""
    return _data_uri(rgb, "png", [cv2.IMWRITE_PNG_COMPRESSION, 9])


def jpeg_data_uri(rgb: UInt8Image) -> str:
    """(h, w, 3) RGB -> a JPEG as a `data:` address: a fifth of the PNG's size, where exact pixels do not matter."""
    return _data_uri(rgb, "jpeg", [cv2.IMWRITE_JPEG_QUALITY, 75])


def _data_uri(rgb: UInt8Image, kind: str, settings: Sequence[int]) -> str:
    encoded, file = cv2.imencode(f".{kind}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), settings)
    if not encoded:
        raise ValueError(f"expected an (h, w, 3) uint8 picture, found {rgb.shape} {rgb.dtype}, which OpenCV cannot write as {kind}")
    return f"data:image/{kind};base64,{base64.b64encode(file.tobytes()).decode()}"


def curves_svg(curves: Mapping[int, pd.DataFrame]) -> str:
    """Training curves as SVG text, one line per fold: loss, and Dice of the held-out people with the best epoch marked.

    curves: fold -> epoch, lr, loss, dice. dice is NaN for an epoch without a score, which the line leaves out.
    """
    with style.context(["default", STYLE]):  # from the default: a personal matplotlibrc changes nothing
        figure = Figure(figsize=(9.6, 3.9), layout="constrained")
        loss, dice = figure.subplots(1, 2, sharex=True)
        for place, fold in enumerate(sorted(curves)):
            _draw_fold(loss, dice, fold, curves[fold], FOLD_COLOURS[place % len(FOLD_COLOURS)])
        _finish_panel(loss, "Training loss")
        _finish_panel(dice, "Dice of the held-out people, full resolution")
        _zoom_in(dice, [curve["dice"].dropna().to_numpy(float) for curve in curves.values()])
        handles, labels = dice.get_legend_handles_labels()
        lines = max(1, math.ceil(len(handles) / 4))
        figure.legend(handles, labels, loc="outside lower center", ncols=max(1, math.ceil(len(handles) / lines)))
        return svg_text(figure)


def class_bars_svg(dice: pd.DataFrame) -> str:
    """Dice per class as SVG text, the worst class on top: a bar for validation, a dot for the test set.

    dice: class, dice (mean over the held-out images) and, if the truth is known, test; NaN for a class that no image shows.
    """
    rows = dice.sort_values(["dice", "class"], ascending=True, na_position="last").reset_index(drop=True)
    with style.context(["default", STYLE]):  # from the default: a personal matplotlibrc changes nothing
        figure = Figure(figsize=(5.6, 0.285 * len(rows) + 0.9), layout="constrained")
        axes = figure.subplots()
        start = _axis_start(rows)
        axes.barh(rows.index, rows["dice"].fillna(start) - start, 0.72, left=start, color=VALIDATION_COLOUR, label="validation")
        if "test" in rows and rows["test"].notna().any():
            axes.plot(rows["test"], rows.index, "o", color=TEST_COLOUR, markersize=5, markeredgecolor="white", label="test", clip_on=False)
        axes.set_yticks(range(len(rows)), labels=rows["class"].astype(str), parse_math=False)
        axes.set(xlim=(start, 1), ylim=(len(rows) - 0.4, -0.6), xlabel="Dice" if start == 0 else f"Dice (the axis starts at {start:g})")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        figure.legend(*(part[::-1] for part in axes.get_legend_handles_labels()), loc="outside upper center", ncols=2)
        return svg_text(figure)


def scaled(image: UInt8Image, height: int, width: int) -> UInt8Image:
    """A picture of another size: (H, W) or (H, W, 3) -> (height, width, 3)."""
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized if resized.ndim == 3 else cv2.cvtColor(resized, cv2.COLOR_GRAY2RGB), np.uint8)


def _only(masks: BoxedMasks, others: BoxedMasks) -> UInt8Image:
    """(H, W), 1 where any class of `masks` has a pixel that the same class of `others` does not have, else 0."""
    plane = np.zeros(masks.shape, np.uint8)
    for box, crop, other_box, other in zip(masks.boxes, masks.crops, others.boxes, others.crops, strict=True):
        rest = crop.copy()
        y0, x0 = np.maximum(box[:2], other_box[:2])
        y1, x1 = np.minimum(box[2:], other_box[2:])
        if y0 < y1 and x0 < x1:
            overlap = other[y0 - other_box[0] : y1 - other_box[0], x0 - other_box[1] : x1 - other_box[1]]
            rest[y0 - box[0] : y1 - box[0], x0 - box[1] : x1 - box[1]] &= ~overlap
        plane[box[0] : box[2], box[1] : box[3]] |= rest.view(np.uint8)
    return plane


def _tint(canvas: NDArray[np.float32], wrong: UInt8Image, colour: Colour) -> None:
    """Mix `colour` into (h, w, 3) by the share of each pixel that (H, W) `wrong` covers."""
    height, width = canvas.shape[:2]
    share = cv2.resize(wrong * np.uint8(255), (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    canvas += ERROR_TINT * share * (np.array(colour, np.float32) - canvas)


def _draw_outlines(canvas: NDArray[np.float32], truth: BoxedMasks, predicted: BoxedMasks) -> None:
    """Draw both sets of outlines on (h, w, 3); where they meet, their colours add up."""
    lines = [_outlines(masks, canvas.shape[:2]).astype(np.float32)[..., None] / 255 for masks in (truth, predicted)]
    canvas *= 1 - np.maximum(*lines)
    for line, colour in zip(lines, (TRUTH_RGB, PREDICTED_RGB), strict=True):
        canvas += line * np.array(colour, np.float32)
    np.clip(canvas, 0, 255, out=canvas)


def _outlines(masks: BoxedMasks, size: tuple[int, ...]) -> UInt8Image:
    """Every class's contours, holes too, as smooth lines of 255 in an (h, w) plane."""
    plane = np.zeros(size, np.uint8)
    scale = np.array([size[1] / masks.shape[1], size[0] / masks.shape[0]])  # x, y
    for (y0, x0, _, _), crop in zip(masks.boxes, masks.crops, strict=True):
        if not crop.size:
            continue
        contours, _ = cv2.findContours(crop.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE, offset=(int(x0), int(y0)))
        # Fewer corners first: hundreds of segments shorter than a pixel would add up to a thick, ragged line.
        corners = [cv2.approxPolyDP(contour, 0.35 / scale.max(), True) for contour in contours]
        sixteenths = [(((polygon + 0.5) * scale - 0.5) * 16).round().astype(np.int32) for polygon in corners]
        cv2.polylines(plane, sixteenths, True, (255,), 1, cv2.LINE_AA, shift=4)
    return plane


def _label_worst(picture: UInt8Image, truth: BoxedMasks, predicted: BoxedMasks, classes: Sequence[str]) -> None:
    """Write the names of the few worst classes beside their masks on (h, w, 3)."""
    total = (truth.areas() + predicted.areas()).astype(float)
    shared = RunLengthMasks.from_boxed(truth).intersections(RunLengthMasks.from_boxed(predicted))
    dice = np.divide(2 * shared, total, out=np.ones_like(total), where=total > 0)
    worst = [index for index in np.argsort(dice, kind="stable")[:MAX_LABELS] if dice[index] < LABEL_BELOW]
    boxes = np.where(truth.areas()[:, None] > 0, truth.boxes, predicted.boxes) * (picture.shape[0] / truth.shape[0])
    lowest = 0.0
    for index in sorted(worst, key=lambda index: boxes[index, [0, 2]].mean()):
        y0, _, y1, x1 = boxes[index]
        lowest = max((y0 + y1) / 2 + 4, lowest + 16)  # 16 pixels per line, so that no name covers another
        # OpenCV's font has ASCII only; any other name is shown as its number in params.yaml.
        _write_label(picture, classes[index] if classes[index].isascii() else f"class {index}", x1 + 4, lowest)


def _write_label(picture: UInt8Image, text: str, x: float, y: float) -> None:
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, FONT_SCALE, 1)
    corner = (round(max(2, min(x, picture.shape[1] - width - 2))), round(min(y, picture.shape[0] - 4)))
    for colour, thickness in [((0, 0, 0), 3), ((255, 255, 255), 1)]:  # a dark rim keeps white letters legible on bone
        cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, FONT_SCALE, colour, thickness, cv2.LINE_AA)


def _draw_fold(loss: Axes, dice: Axes, fold: int, curve: pd.DataFrame, colour: str) -> None:
    loss.plot(curve["epoch"], curve["loss"], color=colour, linewidth=1.4)
    validated = curve.dropna(subset=["dice"])
    label = f"fold {fold}"
    if len(validated):
        best = validated.iloc[int(validated["dice"].argmax())]
        label += f": {best['dice']:.4f} at epoch {best['epoch']:.0f}"
        for axes, column in [(loss, "loss"), (dice, "dice")]:
            axes.plot(best["epoch"], best[column], "o", color="white", markersize=6, markeredgecolor=colour, markeredgewidth=1.6, zorder=3)
    dice.plot(validated["epoch"], validated["dice"], color=colour, linewidth=1.4, label=label)


def _finish_panel(axes: Axes, title: str) -> None:
    axes.set(title=title, xlabel="epoch (ring: best epoch)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid()


def _zoom_in(axes: Axes, folds: Sequence[NDArray[np.float64]]) -> None:
    """Cut off the low Dice of the first epochs: the differences that matter are near the top. Every best epoch stays visible."""
    bests = [fold.max() for fold in folds if len(fold)]
    if bests:
        spread = max(max(bests) - float(np.median(np.concatenate(folds))), 0.01)
        axes.set_ylim(max(0.0, min(max(bests) - 4 * spread, min(bests) - spread)), min(1.0, max(bests) + spread))


def _axis_start(rows: pd.DataFrame) -> float:
    """The tenth below the lowest Dice, so that differences of a hundredth are visible."""
    values = rows[[column for column in ("dice", "test") if column in rows]].to_numpy(float)
    lowest = float(np.nanmin(values, initial=1.0))
    return max(0.0, math.floor(10 * lowest - 0.5) / 10)


def svg_text(figure: Figure) -> str:
    """A figure as one `<svg>` element: no date, which differs each time, no metadata or document type, which contain web addresses."""
    buffer = BytesIO()
    with warnings.catch_warnings():
        # matplotlib measures a name in its font and warns of glyphs that it lacks; the reader's browser draws them with another font.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", facecolor="white", metadata=dict.fromkeys(["Date", "Creator", "Format", "Type"]))
    text = buffer.getvalue().decode()
    return text[text.index("<svg") :]
