"""Polygons of each class from one annotation JSON, with every fault of the file collected."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handbone.dataset.files import read_file, unreadable
from handbone.dataset.foreign import NAMES, format_of, import_command, is_cvat
from handbone.masks.contours import exact_polygons
from handbone.masks.rasterize import Polygon
from handbone.utils.errors import Problem, UserError, nearest
from handbone.utils.io import unique_keys
from handbone.utils.names import composed

REDRAW = "correct it, or name the sample in data.exclude"
EXPORT = "export it again, or name the sample in data.exclude"
MAX_BYTES = 32 << 20  # of a file; the competition's have 40 KB
MAX_POLYGONS = 100_000  # of a file
MARGIN = 0.5  # pixels that a point may lie outside the image: half of the rounding to whole pixels, and the noise of conversions
NO_POINTS = np.zeros((0, 2), np.float64)
RLE = "rle"  # the type of an annotation that is a mask instead of a polygon
Shape = tuple[int, int]


class _Annotation(NamedTuple):
    """One annotation, checked.

    label: index of the class, None if there is a fault; polygons: in pixels of the image; points: (n, 2) as in the file, none of a mask.
    """

    label: int | None
    polygons: list[Polygon]
    points: NDArray[np.float64]
    problems: list[Problem]


class ClassPolygons(NamedTuple):
    """polygons: C lists of (n, 2) int32 points x, y in pixels, in the order of the classes; problems: every fault of the file."""

    polygons: list[list[Polygon]]
    problems: list[Problem]


def read_polygons(path: Path, classes: Sequence[str], shape: Shape | None, allow_missing: bool) -> ClassPolygons:
    """C lists of (n, 2) int32 polygons, x, y in pixels of the (H, W) image, in the order of `classes`; and every problem of the file.

    Points are rounded to whole pixels; those on the right and lower edge (x = W, y = H) belong to the last pixel. A mask (type rle) becomes
    polygons that are painted as exactly this mask. The image size in the file's metadata is not read: in the competition it says 3060 for
    images of 2048 pixels. shape: None if the image cannot be read; then no point is outside, and masks are not decoded.
    """
    try:
        annotations, problems = read_annotations(path)
        if not problems:
            return check_annotations(str(path), annotations, classes, shape, allow_missing)
    except Exception as error:  # whatever the file holds: the faults of other files count too
        problems = [unreadable(path, error)]
    return ClassPolygons([[] for _ in classes], problems)


def check_annotations(
    place: str, annotations: Sequence[Any], classes: Sequence[str], shape: Shape | None, allow_missing: bool
) -> ClassPolygons:
    """The same as `read_polygons` for the list of annotations of a file that problems call `place`."""
    index_of = {composed(name): index for index, name in enumerate(classes)}
    checked = [_check(f"{place}: annotation {index}", item, index_of, shape) for index, item in enumerate(annotations)]
    polygons: list[list[Polygon]] = [[] for _ in classes]
    for annotation in checked:
        if annotation.label is not None:
            polygons[annotation.label] += annotation.polygons
    problems = _file_problems(place, checked, shape) + ([] if allow_missing else _missing_classes(place, annotations, classes))
    return ClassPolygons(polygons, problems)


def read_annotations(path: Path) -> tuple[list[Any], list[Problem]]:
    """The list of annotations as in the file, unchecked; and the problems of the file as a whole, then with an empty list."""
    try:
        content = read_file(path, "annotation.json", MAX_BYTES, "JSON")
    except UserError as error:
        return [], list(error.problems)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return [], [Problem("annotation.json", str(path), "JSON in UTF-8", "UTF-16", "save it in UTF-8")]
    if is_cvat(content):
        return [], [_foreign(path, "cvat")]
    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        return [], [Problem("annotation.json", str(path), "JSON", f"{type(error).__name__}: {error}"[:200], EXPORT)]
    if (name := format_of(document)) not in (None, "handbone"):
        return [], [_foreign(path, str(name))]
    annotations = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(annotations, list):
        return [], [Problem("annotation.list", str(path), 'a list "annotations" of polygons', "none", EXPORT)]
    if len(annotations) > MAX_POLYGONS:
        found = f"{len(annotations)}"
        return [], [Problem("annotation.list", str(path), f'at most {MAX_POLYGONS} polygons in "annotations"', found, EXPORT)]
    return annotations, []


def _foreign(path: Path, name: str) -> Problem:
    return Problem("annotation.format", str(path), NAMES["handbone"], NAMES[name], import_command(name))


def _check(place: str, annotation: Any, index_of: Mapping[str, int], shape: Shape | None) -> _Annotation:
    """One polygon. index_of: class in composed form -> its index."""
    if not isinstance(annotation, dict) or not isinstance(annotation.get("label"), str):
        found = _short(annotation)
        return _Annotation(
            None, [], NO_POINTS, [Problem("annotation.polygon", place, 'an object with "label" and "points"', found, REDRAW)]
        )
    label, problems = annotation["label"], []
    place = f"{place} ({_short(label)})"
    if composed(label) not in index_of:
        found = f"the unknown label {_short(label)!r}"
        problems.append(Problem("annotation.label", place, "a class of data.classes", found, nearest(label[:60], list(index_of))))
    if annotation.get("type") == RLE:
        polygons, faults = _mask_polygons(place, annotation, shape)
        return _Annotation(None if problems + faults else index_of[composed(label)], polygons, NO_POINTS, problems + faults)
    points = _as_points(annotation.get("points"))
    if points is None:
        found = _short(annotation.get("points"))
        return _Annotation(None, [], NO_POINTS, [*problems, Problem("annotation.points", place, "points as [[x, y], ...]", found, REDRAW)])
    problems += _point_problems(place, points, shape)
    polygons = [] if problems else [_to_pixels(points, shape)]
    return _Annotation(None if problems else index_of[composed(label)], polygons, points, problems)


def _mask_polygons(place: str, annotation: Mapping[str, Any], shape: Shape | None) -> tuple[list[Polygon], list[Problem]]:
    """The polygons of an annotation that is a mask, and its faults."""
    from handbone.masks.rle import decode_runs  # here, as numba takes long to import, and most data sets have no masks

    size, text = annotation.get("size"), annotation.get(RLE)
    if shape is None:
        return [], []
    if size != list(shape) or {type(side) for side in size} != {int}:
        expected = f'"size": [{shape[0]}, {shape[1]}], the height and width of the image'
        return [], [Problem("annotation.mask_size", place, expected, _short(size), REDRAW)]
    if not isinstance(text, str) or not text.strip():
        expected = f'"{RLE}" with starts and lengths as in a submission, at least one pair'
        return [], [Problem("annotation.mask", place, expected, _short(text), REDRAW)]
    try:
        masks = decode_runs([text], *shape, [place]).boxed()
    except UserError as error:
        return [], [Problem("annotation.mask", found.place, found.expected, found.found, REDRAW) for found in error.problems]
    return [polygon + masks.boxes[0, 1::-1] for polygon in exact_polygons(masks.crops[0])], []


def _short(value: Any) -> str:
    """The value as printable text of at most 60 characters."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    return text[:60].encode("utf-8", "backslashreplace").decode()


def _as_points(given: Any) -> NDArray[np.float64] | None:
    """[[x, y], ...] -> (n, 2); None for anything else. NumPy would also take texts, truth values and rows of another length."""
    if not isinstance(given, list) or not all(isinstance(point, list) and len(point) == 2 for point in given):
        return None
    if not {type(number) for point in given for number in point} <= {int, float}:
        return None
    try:
        return np.array(given, np.float64).reshape(-1, 2)
    except OverflowError:  # a whole number of 400 digits
        return None


def _point_problems(place: str, points: NDArray[np.float64], shape: Shape | None) -> list[Problem]:
    """The faults of a polygon's (n, 2) points x, y in an (H, W) image."""
    finite = np.isfinite(points).all(1)
    infinite = np.flatnonzero(~finite)
    if len(points) < 3 or len(infinite):
        first = f", point {infinite[0]} is ({points[infinite[0], 0]:g}, {points[infinite[0], 1]:g})" if len(infinite) else ""
        problems = [Problem("annotation.points", place, "at least 3 points, all of them finite", f"{len(points)}{first}", REDRAW)]
    elif is_line(_to_pixels(points, shape)):
        problems = [Problem("annotation.no_area", place, "a polygon with an area", "a point or a line in whole pixels", REDRAW)]
    else:
        problems = []
    if shape is None:
        return problems
    outside = points[finite & ((points < -MARGIN) | (points > np.add(shape[::-1], MARGIN))).any(1)]
    if len(outside):
        found = f"{len(outside)} outside, the first at ({outside[0][0]:g}, {outside[0][1]:g})"
        return [*problems, Problem("annotation.outside", place, f"points inside the {shape[1]}x{shape[0]} image", found, REDRAW)]
    return problems


def is_line(points: Polygon) -> bool:
    """Whether all (n, 2) points are on one line, or are one point."""
    x, y = (points - points[0]).astype(np.float64).T
    far = np.argmax(np.abs(x) + np.abs(y))
    return not (x * y[far] - y * x[far]).any()


def _to_pixels(points: NDArray[np.float64], shape: Shape | None) -> Polygon:
    """Finite points -> the nearest whole pixels inside the image."""
    return np.clip(np.rint(points), 0, np.subtract(shape[::-1], 1) if shape else 2**30).astype(np.int32)


def _file_problems(place: str, checked: Sequence[_Annotation], shape: Shape | None) -> list[Problem]:
    """The faults of all polygons; coordinates relative to the image's size are one fault, instead of polygons without area."""
    problems = [problem for annotation in checked for problem in annotation.problems]
    points = np.concatenate([NO_POINTS, *(annotation.points for annotation in checked)])
    inside = len(points) and max(shape or (0,)) > 2 and ((points >= 0) & (points <= 1)).all()
    if not inside or not (points % 1).any():
        return problems
    fix = "multiply x by the image's width and y by its height"
    relative = Problem("annotation.relative", place, "points in pixels", "all coordinates in 0..1, relative to the image's size", fix)
    return [*(problem for problem in problems if problem.code != "annotation.no_area"), relative]


def _missing_classes(place: str, annotations: Sequence[Any], classes: Sequence[str]) -> list[Problem]:
    labels = [annotation.get("label") for annotation in annotations if isinstance(annotation, dict)]
    named = {composed(label) for label in labels if isinstance(label, str)}
    missing = [name for name in classes if composed(name) not in named]
    found = f"{len(classes) - len(missing)}, without {', '.join(missing)}"
    fix = "draw the missing ones, name the sample in data.exclude, or set data.allow_missing"
    return [Problem("annotation.class_missing", place, f"all {len(classes)} classes", found, fix)] if missing else []
