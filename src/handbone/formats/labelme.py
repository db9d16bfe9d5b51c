"""LabelMe JSON: one file per image, read and written."""

from __future__ import annotations

import base64
import binascii
import io
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from handbone.dataset.files import is_text
from handbone.formats.images import list_files, picture_size, read_picture
from handbone.formats.labels import (
    Annotation,
    LabelledImage,
    Labels,
    ReadOptions,
    Shape,
    mask,
    mask_pixels,
    outline_note,
    polygon,
    size_problems,
)
from handbone.formats.source import Fields, existing, parsed, read_document
from handbone.masks.boxed import Mask
from handbone.masks.contours import exact_polygons
from handbone.utils.errors import Problem, UserError, raise_if_any

VERSION = "5.5.0"  # of the files that are written; later ones read them
FAR = 100_000  # pixels: Pillow paints larger circles for minutes, or overflows


class _Shape(Fields):
    label: str
    points: list[list[float]]
    shape_type: str | None = None
    mask: str | None = None


class _LabelMe(Fields):
    shapes: list[_Shape]
    imagePath: str  # noqa: N815
    imageData: str | None = None  # noqa: N815
    imageHeight: int | None = None  # noqa: N815
    imageWidth: int | None = None  # noqa: N815


def read_labelme(source: Path, options: ReadOptions) -> Labels:
    """The images and shapes of all JSON files below a folder, or of one file. Classes are the labels, sorted.

    The picture is at `imagePath` as seen from the file, or below the folder of pictures, or inside the JSON.
    Raises `UserError` with every file and shape that cannot be used.
    """
    files = [source] if source.is_file() else list_files(existing(source, folder=True), (".json",))
    if not files:
        raise UserError(Problem("import.source", str(source), "LabelMe's JSON files", "none", "correct the path"))
    images, problems = list[LabelledImage](), list[Problem]()
    for file in files:
        try:
            images.append(_read(file, file.parent if source.is_file() else source, options))
        except UserError as error:
            problems += error.problems
    raise_if_any(problems, f"{source} cannot be imported")
    classes = sorted({annotation["label"] for image in images for annotation in image.annotations})
    return Labels(images, classes, outline_note(images, "LabelMe"))


def embedded_picture(file: Path) -> bytes:
    """The picture inside a LabelMe file. Raises `UserError` if it is not base64."""
    document = parsed(_LabelMe, read_document(file, "labelme"), str(file))
    try:
        return base64.b64decode(document.imageData or "", validate=True)
    except binascii.Error as error:
        raise UserError(Problem("import.picture", str(file), "imageData in base64", str(error), "save it again in LabelMe")) from None


def _read(file: Path, folder: Path, options: ReadOptions) -> LabelledImage:
    document = parsed(_LabelMe, read_document(file, "labelme"), str(file))
    path = PureWindowsPath(document.imagePath).as_posix()
    if not is_text(path):
        found = repr(path[:60])
        raise UserError(Problem("import.name", str(file), "an imagePath without control characters", found, "correct the name"))
    below = file.relative_to(folder).parent
    places = [file.parent / path] if options.pictures is None else [options.pictures / below / path, options.pictures / path]
    picture = next((place for place in places if place.is_file()), places[-1])
    embedded = not picture.is_file() and document.imageData is not None
    size = _size(file, document, picture, embedded)
    raise_if_any(size_problems(size, str(file)), "")
    name = PurePosixPath(below.as_posix(), f"{file.stem}{PurePosixPath(path).suffix}").as_posix()
    return LabelledImage(
        name, str(file), file if embedded else picture, size, _annotations(file, document, size, options.as_masks), embedded=embedded
    )


def _size(file: Path, document: _LabelMe, picture: Path, embedded: bool) -> Shape:
    """(H, W) as the file says, else of the picture."""
    if document.imageHeight is not None and document.imageWidth is not None:
        return document.imageHeight, document.imageWidth
    return read_picture(file, embedded_picture(file)).shape[:2] if embedded else picture_size(picture)


def _annotations(file: Path, document: _LabelMe, size: Shape, as_masks: bool) -> list[Annotation]:
    """All shapes. Raises `UserError` with each one that has no area, or is no shape of its type."""
    annotations, problems = list[Annotation](), list[Problem]()
    for number, shape in enumerate(document.shapes):
        try:
            annotation = _annotation(shape, size)
            annotations.append(_painted(annotation, size) if as_masks and "points" in annotation else annotation)
        except ValueError as error:
            place = f"{file}: shape {number} ({shape.label[:60]})"
            expected = "a polygon, rectangle, oriented_rectangle, circle or mask"
            problems.append(Problem("import.shape", place, expected, str(error), "draw it again as a polygon, or remove it"))
    raise_if_any(problems, "")
    return annotations


def _annotation(shape: _Shape, size: Shape) -> Annotation:
    """One shape. Raises ValueError for one that has no area."""
    kind = shape.shape_type or "polygon"
    if kind not in SHAPES:
        raise ValueError(f"a {kind}"[:60])
    least, exact, convert = SHAPES[kind]
    if len(shape.points) < least or (exact and len(shape.points) != least) or any(len(point) != 2 for point in shape.points):
        raise ValueError(f"a {kind} of {len(shape.points)} points")
    return convert(shape, size)


def _polygon(shape: _Shape, _: Shape) -> Annotation:
    return polygon(shape.label, shape.points)


def _rectangle(shape: _Shape, _: Shape) -> Annotation:
    (x0, y0), (x1, y1) = shape.points
    return polygon(shape.label, [[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _painted(annotation: Annotation, size: Shape) -> Annotation:
    """A polygon as the mask that LabelMe's shape_to_mask gives: the polygon of Pillow. Raises ValueError for points far outside."""
    if not max(abs(number) for point in annotation["points"] for number in point) <= FAR:
        raise ValueError("points far outside of the image")
    picture = Image.new("L", size[::-1])
    ImageDraw.Draw(picture).polygon([(x, y) for x, y in annotation["points"]], fill=1, outline=1)
    return mask(annotation["label"], np.asarray(picture) > 0)


def _circle(shape: _Shape, size: Shape) -> Annotation:
    """The pixels that LabelMe's shape_to_mask sets: the ellipse of Pillow."""
    (x, y), edge = shape.points
    radius = math.dist((x, y), edge)
    if max(abs(x), abs(y), radius) > FAR:
        raise ValueError("a circle that is far outside of the image")
    picture = Image.new("L", size[::-1])
    ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
    return mask(shape.label, np.asarray(picture) > 0)


def _mask(shape: _Shape, size: Shape) -> Annotation:
    """A crop as PNG in base64, whose first pixel is at the first point."""
    try:
        crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape.mask or "", validate=True)))) > 0
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"a mask that is no PNG in base64 ({error})"[:120]) from None
    x, y = (int(number) for number in shape.points[0])
    pixels = np.zeros(size, bool)
    if crop.ndim != 2 or min(x, y) < 0 or pixels[y : y + len(crop), x : x + crop.shape[1]].shape != crop.shape:
        raise ValueError(f"a mask of {crop.shape} pixels at {x}, {y}, which is not inside of the image")
    pixels[y : y + len(crop), x : x + crop.shape[1]] = crop
    return mask(shape.label, pixels)


SHAPES: dict[str, tuple[int, bool, Callable[[_Shape, Shape], Annotation]]] = {
    "polygon": (3, False, _polygon),
    "rectangle": (2, True, _rectangle),
    "oriented_rectangle": (4, True, _polygon),
    "circle": (2, True, _circle),
    "mask": (2, True, _mask),
}
"""Type of shape -> the number of its points, whether it has exactly as many, and the conversion."""


def labelme_document(image: LabelledImage, folder: Path) -> dict[str, Any]:
    """One image, of known size, as the document of a file in `folder`, without the picture.

    A mask becomes polygons, which can be corrected, and are painted as exactly this mask. Pieces without area become masks.
    """
    height, width = image.size or (0, 0)
    return {
        "version": VERSION,
        "flags": {},
        "shapes": [shape for annotation in image.annotations for shape in _shapes(annotation, image.place)],
        "imagePath": Path(os.path.relpath(image.picture, folder)).as_posix(),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _shapes(annotation: Annotation, place: str) -> Iterator[dict[str, Any]]:
    label = annotation["label"]
    if "points" in annotation:
        yield _shape(label, "polygon", annotation["points"])
        return
    rest = mask_pixels(annotation, place)
    for outline in exact_polygons(rest):
        if np.linalg.matrix_rank(outline - outline[0]) == 2:  # not all points on one line
            yield _shape(label, "polygon", outline.tolist())
        else:
            yield _line(label, outline.tolist(), rest)


def _shape(label: str, kind: str, points: Any, png: str | None = None) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {}, "mask": png}


def _line(label: str, ends: list[list[int]], pixels: Mask) -> dict[str, Any]:
    """The pixels of a mask in the box of a straight line, as a mask."""
    left, top = (min(coordinates) for coordinates in zip(*ends, strict=True))
    right, bottom = (max(coordinates) for coordinates in zip(*ends, strict=True))
    file = io.BytesIO()
    Image.fromarray(pixels[top : bottom + 1, left : right + 1]).save(file, "PNG")
    return _shape(label, "mask", [[left, top], [right, bottom]], base64.b64encode(file.getvalue()).decode())
