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


def json_annotations(masks: BoxedMasks, classes: Sequence[str]) -> list[Annotation]:
    """C masks -> annotations that stage preprocess paints as exactly these masks.

    They are polygons; pieces of one pixel or one line, which no polygon may be, are together a mask (type rle).
    """
    annotations = []
    for label, box, crop in zip(classes, masks.boxes, masks.crops, strict=True):
        pieces = [piece + box[1::-1] for piece in exact_polygons(crop)] if crop.size else []
        annotations += [polygon(label, piece.tolist()) for piece in pieces if not is_line(piece)]
        if flat := [piece for piece in pieces if is_line(piece)]:
            annotations.append(_painted(label, flat, masks.shape))
    return annotations


def _painted(label: str, pieces: Sequence[Polygon], shape: tuple[int, int]) -> Annotation:
    (text,) = encode_runs(RunLengthMasks.from_boxed(rasterize([pieces], shape)))
    return {"label": label, "type": RLE, "size": list(shape), RLE: text}


def coco_annotations(masks: RunLengthMasks) -> list[dict[str, Any]]:
    """C masks -> COCO's annotations without ids: encoded masks, because COCO's tools paint polygons without their whole outline."""
    columns, boxes = masks.transposed(), masks.boxed().boxes.tolist()
    found = []
    for index, ((y0, x0, y1, x1), area) in enumerate(zip(boxes, masks.areas().tolist(), strict=True)):
        if area:
            runs = columns.intervals[columns.indptr[index] : columns.indptr[index + 1]].ravel().tolist()
            counts = np.diff([0, *runs, masks.shape[0] * masks.shape[1]]).tolist()
            text = text_of_counts(counts if counts[-1] else counts[:-1])
            segmentation = {"size": list(masks.shape), "counts": text}
            box = [x0, y0, x1 - x0, y1 - y0]
            found.append({"category_id": index + 1, "iscrowd": 0, "segmentation": segmentation, "area": area, "bbox": box})
    return found
