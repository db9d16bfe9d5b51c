"""What every format is read into: images by name, with annotations as this project's JSON has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from handbone.dataset.annotation import RLE
from handbone.dataset.files import is_text
from handbone.masks.boxed import BoxedMasks, Mask
from handbone.masks.rle import decode_runs, encode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.utils.errors import Problem, UserError

Annotation = dict[str, Any]
Shape = tuple[int, int]
POLYGON = "poly_seg"  # the type of a polygon
MAX_PIXELS = 100_000_000  # of a picture


@dataclass(frozen=True)
class ReadOptions:
    """What a reader may need beside its source.

    pictures: folder of the images, None: where the format keeps them. values: name of each value of label images. columns: name of the
    column that holds `image`, `class` or `rle` in a CSV. by_column: runs count pixels column by column; first: the number of the first
    pixel, 0 or 1. label: the class of a CSV without a column of classes. wide: the columns that are classes, one row per image.
    as_masks: polygons of COCO and LabelMe become the masks that pycocotools and LabelMe paint.
    """

    pictures: Path | None = None
    values: Mapping[int, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    by_column: bool = True
    first: int = 1
    label: str | None = None
    wide: Sequence[str] = ()
    as_masks: bool = False


@dataclass(frozen=True)
class LabelledImage:
    """One image of a source.

    name: a path as the source names it; place: where it is in the source, for errors; picture: its file. size: (H, W) of the upright
    picture as the source claims, None if it does not say. annotations: as in this project's JSON. fields: the cells of its row in a CSV.
    embedded: the pixels are inside `picture`, a LabelMe file.
    """

    name: str
    place: str
    picture: Path
    size: Shape | None = None
    annotations: Sequence[Annotation] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    embedded: bool = False


@dataclass(frozen=True)
class Labels:
    """The content of a source. classes: in the order of the source; notes: what a user should know about how it was read."""

    images: list[LabelledImage]
    classes: list[str]
    notes: list[str] = field(default_factory=list)


def outline_note(images: Sequence[LabelledImage], tool: str) -> list[str]:
    """What to know about polygons that `tool` paints without their whole outline, if there are any."""
    drawn = any("points" in annotation for image in images for annotation in image.annotations)
    return [f"polygons are painted with their outline; --as-masks keeps what {tool} paints"] if drawn else []


def polygon(label: str, points: Sequence[Sequence[float]]) -> Annotation:
    """The annotation of a polygon, x, y in pixels."""
    return {"label": label, "type": POLYGON, "points": [list(point) for point in points]}


def mask(label: str, pixels: Mask) -> Annotation:
    """The annotation of an (H, W) mask, exact to the pixel."""
    (text,) = encode_runs(RunLengthMasks.from_boxed(BoxedMasks.from_dense(pixels[None])))
    return {"label": label, "type": RLE, "size": list(pixels.shape), RLE: text}


def mask_pixels(annotation: Annotation, place: str) -> Mask:
    """The (H, W) mask of an annotation of type rle. Raises `UserError` for one that is invalid."""
    size, text = annotation.get("size"), annotation.get(RLE)
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)):
        raise UserError(Problem("annotation.mask_size", place, '"size": [height, width]', str(size)[:60], "correct it"))
    return np.asarray(decode_runs([str(text)], size[0], size[1], [place]).boxed().dense()[0])


def size_problems(size: Shape, place: str) -> list[Problem]:
    """A problem if a file says an (H, W) that no picture may have: masks of that size would take memory before the picture is read."""
    height, width = size
    if min(size) > 0 and height * width <= MAX_PIXELS:
        return []
    return [Problem("import.pixels", place, f"from 1 to {MAX_PIXELS} pixels", f"{width} x {height}"[:60], "make the image smaller")]


def safe_name(name: str, place: str) -> list[Problem]:
    """A problem if the name that a file gives to an image leads out of the folder of images."""
    path = PurePosixPath(name)
    if name and is_text(name) and not path.is_absolute() and ".." not in path.parts:
        return []
    return [Problem("import.name", place, "the name of an image below the folder of images", repr(name[:60]), "correct the name")]
