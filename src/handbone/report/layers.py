"""A part of an image as SVG, and over it the layers that a reader switches: outlines of truth and prediction, and where they differ."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from handbone.cache.resize import UInt8Image, scaled_rgb
from handbone.cache.sample import CachedSample
from handbone.evaluation.overlay import PREDICTED_RGB, TRUTH_RGB, Colour
from handbone.masks.boxed import BoxedMasks, Mask
from handbone.masks.runs import RunLengthMasks
from handbone.report.figures import jpeg_data_uri

MARGIN = 16  # pixels around the masks of a crop, at full resolution
FEWEST = 96  # pixels of a crop's side, at full resolution, if the image has them
CORNERS = 0.7  # pixels at full resolution that an outline's corners may be off: less than a line's width on any screen
TINT = 170  # opacity of the areas, of 255

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Shown:
    """An image with masks of C classes at full resolution (H, W). image: at cache size."""

    image: UInt8Image
    truth: BoxedMasks
    predicted: BoxedMasks

    @classmethod
    def of(cls, sample: CachedSample, predicted: RunLengthMasks) -> Shown:
        """A sample with its truth, and the prediction. Raises ValueError for a sample of the test set, which has no truth."""
        return cls(sample.image, sample.truth.unpack(), predicted.boxed())

    def only(self, classes: Sequence[int]) -> Shown:
        """The same image with the masks of these classes."""
        return Shown(self.image, self.truth.only(classes), self.predicted.only(classes))


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


def image_layer(name: str, shown: Shown, window: Window, longest: int) -> str:
    """The image in the window as JPEG, the longer side at most `longest` pixels. name: an id that the page has once."""
    height, width = window[2] - window[0], window[3] - window[1]
    crop = _image_crop(shown, window)
    factor = min(1.0, longest / max(crop.shape[:2]))
    picture = scaled_rgb(crop, *(max(1, round(side * factor)) for side in crop.shape[:2])) if factor < 1 or crop.ndim == 2 else crop
    return (
        f'<image id="{escape(name)}" class="layer image" width="{width}" height="{height}" preserveAspectRatio="none" '
        f'href="{jpeg_data_uri(picture)}"/>'
    )


def _image_crop(shown: Shown, window: Window) -> UInt8Image:
    """The part of the image in `window`, which is in pixels of the masks."""
    ratio = np.array(shown.image.shape[:2]) / np.array(shown.truth.shape)
    (y0, x0), (y1, x1) = np.floor(window[:2] * ratio).astype(int), np.ceil(window[2:] * ratio).astype(int)
    return shown.image[y0:y1, x0:x1]


def layered_svg(name: str, image: str, shown: Shown, window: Window, titles: Sequence[str], above: str = "") -> str:
    """An SVG of the part in `window`, whose unit is a pixel of the masks.

    name: an id that the page has once; image: the lowest layer; titles: of the C masks, shown when a pointer rests on one.
    above: SVG of a further layer. Layers between: `missed` and `extra` (exact), `truth` and `predicted`.
    """
    y0, x0, y1, x1 = window
    parts = [
        image,
        _area("missed", shown.truth.without(shown.predicted).union()[y0:y1, x0:x1], TRUTH_RGB),
        _area("extra", shown.predicted.without(shown.truth).union()[y0:y1, x0:x1], PREDICTED_RGB),
        _outlines(f"{name}-truth", shown.truth, window, titles),
        _outlines(f"{name}-predicted", shown.predicted, window, titles),
        *(f'<use class="layer {layer} casing" href="#{escape(name)}-{layer}"/>' for layer in ("truth", "predicted")),
        *(f'<use class="layer {layer}" href="#{escape(name)}-{layer}"/>' for layer in ("truth", "predicted")),
    ]
    return f'<svg class="picture" viewBox="0 0 {x1 - x0} {y1 - y0}" role="img" tabindex="0">{"".join(parts)}{above}</svg>'


def _area(layer: str, wrong: Mask, colour: Colour) -> str:
    """(h, w) as a picture of one bit per pixel: the colour, or nothing."""
    if not wrong.any():
        return ""
    picture, file = Image.fromarray(wrong.view(np.uint8), "P"), BytesIO()
    picture.putpalette([0, 0, 0, *colour])
    picture.save(file, "PNG", bits=1, transparency=bytes([0, TINT]), optimize=True)
    address = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return f'<image class="layer area {layer}" width="{wrong.shape[1]}" height="{wrong.shape[0]}" href="{address}"/>'


def _outlines(name: str, masks: BoxedMasks, window: Window, titles: Sequence[str]) -> str:
    """A definition of the outlines, holes too, of the masks that reach into the window, with a title per class."""
    y0, x0, y1, x1 = window
    paths = [
        f'<path d="{_path(crop, (left - x0, top - y0))}"><title>{escape(title)}</title></path>'
        for (top, left, bottom, right), crop, title in zip(masks.boxes.tolist(), masks.crops, titles, strict=True)
        if crop.size and top < y1 and bottom > y0 and left < x1 and right > x0
    ]
    return f'<defs><g id="{escape(name)}" class="outlines" transform="translate(.5 .5)">{"".join(paths)}</g></defs>'


def _path(crop: Mask, offset: tuple[int, int]) -> str:
    """(h, w) bool, and the place x, y of its first pixel -> the outlines as steps between corners, which are whole pixels."""
    contours, _ = cv2.findContours(crop.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE, offset=offset)
    pieces = list[str]()
    for contour in contours:
        corners = cv2.approxPolyDP(contour, CORNERS, True)[:, 0]
        steps = " ".join(f"{x} {y}" for x, y in np.diff(corners, axis=0).tolist())
        pieces.append(f"M{corners[0, 0]} {corners[0, 1]}" + (f"l{steps}z" if steps else "h0"))
    return "".join(pieces)
