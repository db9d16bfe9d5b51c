"""Masks as the annotations of the project's JSON and of COCO, both exact to the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from handbone.dataset.annotation import RLE, is_line
from handbone.formats.coco_rle import text_of_counts
from handbone.formats.labels import Annotation, polygon
from handbone.masks.boxed import BoxedMasks
from handbone.masks.contours import exact_polygons
from handbone.masks.rasterize import Polygon, rasterize
from handbone.masks.rle import encode_runs
from handbone.masks.runs import RunLengthMasks


def json_annotations(masks: RunLengthMasks, classes: Sequence[str]) -> list[Annotation]:
    """C masks -> annotations that stage preprocess paints as exactly these masks.

    They are polygons; pieces of one pixel or one line, which no polygon may be, are together a mask (type rle).
    """
    annotations = []
    for label, mask in zip(classes, masks.one_by_one(), strict=True):
        pieces = _pieces(mask.boxed())
        annotations += [polygon(label, piece.tolist()) for piece in pieces if not is_line(piece)]
        if flat := [piece for piece in pieces if is_line(piece)]:
            annotations.append(_painted(label, flat, masks.shape))
    return annotations


def _pieces(mask: BoxedMasks) -> list[Polygon]:
    """One mask -> its polygons in pixels of the image."""
    (box,), (crop,) = mask.boxes, mask.crops
    return [piece + box[1::-1] for piece in exact_polygons(crop)] if crop.size else []


def _painted(label: str, pieces: Sequence[Polygon], shape: tuple[int, int]) -> Annotation:
    (text,) = encode_runs(RunLengthMasks.from_boxed(rasterize([pieces], shape)))
    return {"label": label, "type": RLE, "size": list(shape), RLE: text}


def coco_annotations(masks: RunLengthMasks) -> list[dict[str, Any]]:
    """C masks -> COCO's annotations without ids: encoded masks, because COCO's tools paint polygons without their whole outline."""
    found = []
    for number, mask in enumerate(masks.one_by_one(), start=1):
        if len(mask.intervals):
            runs, pixels = mask.transposed().intervals.ravel().tolist(), mask.shape[0] * mask.shape[1]
            counts = np.diff([0, *runs] if runs[-1] == pixels else [0, *runs, pixels]).tolist()
            segmentation = {"size": list(mask.shape), "counts": text_of_counts(counts)}
            ((y0, x0, y1, x1),), (area,) = mask.boxed().boxes.tolist(), mask.areas().tolist()
            place = {"segmentation": segmentation, "area": area, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            found.append({"category_id": number, "iscrowd": 0} | place)
    return found
