"""CVAT for images 1.1: one XML file with polygons, boxes and masks.

https://docs.cvat.ai/docs/manual/advanced/xml_format/
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from handbone.formats.labels import Annotation, LabelledImage, Labels, ReadOptions, Shape, mask, polygon, safe_name, size_problems
from handbone.formats.source import BYTES, existing, refuse_others
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.file_errors import read_bounded

Element = ElementTree.Element
NO_SHAPES = ("tag",)  # elements of an image that draw nothing


def read_cvat(source: Path, options: ReadOptions) -> Labels:
    """The images and shapes of one file. Classes are the labels that are drawn, in the order of the task.

    Pictures are in the folder `images` beside the file, or beside it. Raises `UserError` with every image and shape that cannot be used.
    """
    root = _parsed(source)
    beside = source.parent / "images"
    folder = options.pictures or (beside if beside.is_dir() else source.parent)
    images, problems = list[LabelledImage](), list[Problem]()
    for element in root.iter("image"):
        try:
            images.append(_image(source, element, folder))
        except UserError as error:
            problems += error.problems
    raise_if_any(problems, f"{source} cannot be imported")
    drawn = {annotation["label"] for image in images for annotation in image.annotations}
    known = [name.text or "" for name in root.iterfind(".//label/name")]
    return Labels(images, [name for name in dict.fromkeys([*known, *sorted(drawn)]) if name in drawn])


def _parsed(source: Path) -> Element:
    content = read_bounded(existing(source, folder=False), BYTES)
    refuse_others(source, content, "cvat")
    try:
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:  # entities can grow to any size
            raise ValueError("a document type, which CVAT does not write")
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(Problem("import.xml", str(source), "XML as CVAT exports it", str(error)[:200], "export it again")) from None


def _image(source: Path, element: Element, folder: Path) -> LabelledImage:
    name = element.get("name", "")
    place = f"{source}: {name[:100]}"
    raise_if_any(safe_name(name, place), "")
    try:
        size = (int(element.attrib["height"]), int(element.attrib["width"]))
    except (KeyError, ValueError):
        expected = "an image with a width and a height"
        raise UserError(Problem("import.field", place, expected, str(element.attrib)[:100], "export it again")) from None
    raise_if_any(size_problems(size, place), "")
    annotations, problems = list[Annotation](), list[Problem]()
    for number, shape in enumerate(one for one in element if one.tag not in NO_SHAPES):
        try:
            if shape.tag not in SHAPES:
                raise ValueError(f"a {shape.tag}")
            annotations.append(SHAPES[shape.tag](shape, size))
        except (KeyError, ValueError, OverflowError) as error:
            at = f"{place}: shape {number} ({shape.get('label', 'no label')[:60]})"
            found = f"no attribute {error}" if isinstance(error, KeyError) else str(error)
            problems.append(Problem("import.shape", at, "a polygon, box or mask", found[:100], "draw it as a polygon, or remove it"))
    raise_if_any(problems, "")
    return LabelledImage(name, place, folder / name, size, annotations)


def _polygon(shape: Element, _: Shape) -> Annotation:
    return polygon(shape.attrib["label"], [[float(number) for number in point.split(",")] for point in shape.attrib["points"].split(";")])


def _box(shape: Element, _: Shape) -> Annotation:
    """A box as a polygon; turned around its centre by `rotation` degrees, clockwise."""
    x0, y0, x1, y1 = (float(shape.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
    angle = math.radians(float(shape.get("rotation", 0)))
    corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
    if angle:
        x, y, cos, sin = (x0 + x1) / 2, (y0 + y1) / 2, math.cos(angle), math.sin(angle)
        corners = [[x + (a - x) * cos - (b - y) * sin, y + (a - x) * sin + (b - y) * cos] for a, b in corners]
    return polygon(shape.attrib["label"], corners)


def _mask(shape: Element, size: Shape) -> Annotation:
    """Counts of pixels outside and inside in turns, row by row inside of a box."""
    left, top, width, height = (int(shape.attrib[name]) for name in ("left", "top", "width", "height"))
    counts = [int(number) for number in shape.attrib["rle"].split(",")]
    if min(counts) < 0 or sum(counts) != width * height:
        raise ValueError(f"counts of {sum(counts)} pixels in a box of {width}x{height}")
    if min(left, top) < 0 or left + width > size[1] or top + height > size[0]:
        raise ValueError("a mask that is not inside of the image")
    pixels = np.zeros(size, bool)
    pixels[top : top + height, left : left + width] = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    return mask(shape.attrib["label"], pixels)


SHAPES: dict[str, Callable[[Element, Shape], Annotation]] = {"polygon": _polygon, "box": _box, "mask": _mask}
"""Element -> its conversion."""
