"""COCO JSON (instances): polygons, run-length encoded masks and crowds, read and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handbone.formats.coco_polygon import paint_polygon
from handbone.formats.coco_rle import counts_of_mask, counts_of_text, mask_of_counts, text_of_counts
from handbone.formats.labels import (
    Annotation,
    LabelledImage,
    Labels,
    ReadOptions,
    mask,
    mask_pixels,
    outline_note,
    polygon,
    safe_name,
    size_problems,
)
from handbone.formats.source import Fields, parsed, read_document
from handbone.utils.errors import Problem, raise_if_any

Id = int | str
FAR = 1_000_000  # pixels
FIX = "correct the annotation, or remove it"


class _Image(Fields):
    id: Id
    file_name: str
    height: int
    width: int


class _Category(Fields):
    id: Id
    name: str


class _Rle(Fields):
    size: list[int]
    counts: list[int] | str


class _Annotation(Fields):
    id: Id | None = None
    image_id: Id
    category_id: Id
    segmentation: list[list[float]] | _Rle | None = None
    iscrowd: int = 0


class _Coco(Fields):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def read_coco(source: Path, options: ReadOptions) -> Labels:
    """The images and annotations of one file. Classes are the categories with annotations, in the order of their ids.

    Raises `UserError` with every field, name, reference and segmentation that cannot be used.
    """
    coco = parsed(_Coco, read_document(source, "coco"), str(source))
    names = {category.id: category.name for category in coco.categories}
    images = {image.id: image for image in coco.images}
    annotations: dict[Id, list[Annotation]] = {image: [] for image in images}
    problems = _image_problems(source, coco)
    raise_if_any(problems, f"{source} cannot be imported")
    for number, item in enumerate(coco.annotations):
        place = f"{source}: annotation {item.id if item.id is not None else number}"
        problems += (faults := _reference_problems(place, item, images, names))
        if not faults:
            found, faults = _annotations(place, item, images[item.image_id], names[item.category_id], options.as_masks)
            annotations[item.image_id] += found
            problems += faults
    raise_if_any(problems, f"{source} cannot be imported")
    folder = options.pictures or source.parent
    read = [
        LabelledImage(
            image.file_name, f"{source}: {image.file_name}", folder / image.file_name, (image.height, image.width), annotations[image.id]
        )
        for image in coco.images
    ]
    used = {item.category_id for item in coco.annotations}
    notes = outline_note(read, "pycocotools") + _notes(coco, used)
    ordered = sorted(coco.categories, key=lambda category: (isinstance(category.id, str), category.id))
    return Labels(read, list(dict.fromkeys(category.name for category in ordered if category.id in used)), notes)


def _image_problems(source: Path, coco: _Coco) -> list[Problem]:
    """The faults of images and ids, which later ones follow from."""
    problems = []
    for image in coco.images:
        place = f"{source}: image {image.id}"
        problems += safe_name(image.file_name, place) + size_problems((image.height, image.width), place)
    for kind, items in (("image", coco.images), ("category", coco.categories)):
        repeated = [number for number, count in Counter(item.id for item in items).items() if count > 1]
        problems += [Problem("import.id", f"{source}: {kind} {one}", "each id once", "it is there twice", FIX) for one in repeated]
    return problems


def _reference_problems(place: str, item: _Annotation, images: Mapping[Id, _Image], names: Mapping[Id, str]) -> list[Problem]:
    wanted = (("image_id", item.image_id, images), ("category_id", item.category_id, names))
    return [
        Problem("import.reference", place, f"the {key} of an entry of the file", str(value), FIX)
        for key, value, known in wanted
        if value not in known
    ]


def _annotations(place: str, item: _Annotation, image: _Image, label: str, as_masks: bool) -> tuple[list[Annotation], list[Problem]]:
    """The annotations of one segmentation, several for several polygons that do not become a mask, and its faults."""
    found = item.segmentation
    if not found:
        return [], [Problem("import.segmentation", place, "a segmentation", "none, as of a box or key points", FIX)]
    if isinstance(found, _Rle):
        try:
            if found.size != [image.height, image.width]:
                raise ValueError(f"the size {found.size} in an image of {image.height} x {image.width}")
            counts = counts_of_text(found.counts) if isinstance(found.counts, str) else found.counts
            return [mask(label, mask_of_counts(counts, image.height, image.width))], []
        except ValueError as error:
            return [], [Problem("import.rle", place, "counts that fill the image", str(error), FIX)]
    odd = [len(numbers) for numbers in found if len(numbers) % 2 or len(numbers) < 6]
    problems = [Problem("import.polygon", place, "x, y of at least three points", f"{count} numbers", FIX) for count in odd]
    if odd:
        return [], problems
    polygons = [list(zip(one[::2], one[1::2], strict=True)) for one in found]
    return _painted(place, label, polygons, image) if as_masks else ([polygon(label, one) for one in polygons], [])


def _painted(
    place: str, label: str, polygons: Sequence[Sequence[tuple[float, float]]], image: _Image
) -> tuple[list[Annotation], list[Problem]]:
    """The union of the polygons as pycocotools paints them, and a problem for points that are far outside or paint nothing."""
    if max(abs(number) for one in polygons for point in one for number in point) > FAR:
        return [], [Problem("import.polygon", place, "points in pixels of the image", "points far outside", FIX)]
    pixels = np.any([paint_polygon(one, image.height, image.width) for one in polygons], axis=0)
    empty = Problem("import.polygon", place, "a polygon that has a pixel", "none in the mask that pycocotools paints", FIX)
    return ([mask(label, pixels)], []) if pixels.any() else ([], [empty])


def _notes(coco: _Coco, used: Iterable[Id]) -> list[str]:
    crowds = sum(item.iscrowd != 0 for item in coco.annotations)
    unused = [category.name for category in coco.categories if category.id not in set(used)]
    notes = [f"{crowds} crowds (iscrowd) count as masks of their class"] if crowds else []
    return notes + ([f"categories without annotations are no classes: {', '.join(unused)}"] if unused else [])


def coco_document(images: Sequence[LabelledImage], classes: Sequence[str]) -> dict[str, Any]:
    """The images, with known sizes, as a COCO document. Each annotation stays one: polygons as polygons, masks as compressed counts."""
    numbers = {label: number for number, label in enumerate(classes, start=1)}
    entries: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, start=1):
        for annotation in image.annotations:
            entry = {"id": len(entries) + 1, "image_id": image_id, "category_id": numbers[annotation["label"]], "iscrowd": 0}
            entries.append(entry | _segmentation(annotation, image.place))
    sizes = [image.size or (0, 0) for image in images]
    return {
        "images": [
            {"id": number, "file_name": image.name, "height": height, "width": width}
            for number, (image, (height, width)) in enumerate(zip(images, sizes, strict=True), start=1)
        ],
        "annotations": entries,
        "categories": [{"id": number, "name": label} for label, number in numbers.items()],
    }


def _segmentation(annotation: Annotation, place: str) -> dict[str, Any]:
    """segmentation, area and bbox (x, y, width, height) as COCO's readers expect them."""
    if "points" in annotation:
        x, y = zip(*annotation["points"], strict=True)
        shifted = zip(x, y, x[1:] + x[:1], y[1:] + y[:1], strict=True)
        area = abs(sum(x0 * y1 - x1 * y0 for x0, y0, x1, y1 in shifted)) / 2
        box = [min(x), min(y), max(x) - min(x), max(y) - min(y)]
        return {"segmentation": [[number for point in annotation["points"] for number in point]], "area": area, "bbox": box}
    pixels = mask_pixels(annotation, place)
    rows, columns = np.flatnonzero(pixels.any(1)).tolist(), np.flatnonzero(pixels.any(0)).tolist()
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    encoded = {"size": list(pixels.shape), "counts": text_of_counts(counts_of_mask(pixels))}
    return {"segmentation": encoded, "area": int(pixels.sum()), "bbox": box}
