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
from handbone.masks.rasterize import Polygon
from handbone.utils.errors import Problem, UserError, nearest
from handbone.utils.names import composed

REDRAW = "correct it, or name the sample in data.exclude"
EXPORT = "export it again, or name the sample in data.exclude"
MAX_BYTES = 32 << 20  # of a file; the competition's have 40 KB
MAX_POLYGONS = 100_000  # of a file
MARGIN = 0.5  # pixels that a point may lie outside the image: half of the rounding to whole pixels, and the noise of conversions
NOTHING = np.zeros((0, 2), np.float64)
Shape = tuple[int, int]


class _Drawn(NamedTuple):
    """label: index of the class, None if there is a fault; points: (n, 2) as in the file."""

    label: int | None
    points: NDArray[np.float64]
    problems: list[Problem]


def read_polygons(
    path: Path, classes: Sequence[str], shape: Shape | None, allow_missing: bool
) -> tuple[list[list[Polygon]], list[Problem]]:
    """C lists of (n, 2) int32 polygons, x, y in pixels of the (H, W) image, in the order of `classes`; and every problem of the file.

    Points are rounded to whole pixels; those on the right and lower edge (x = W, y = H) belong to the last pixel. The image size in the
    file's metadata is not read: in the competition it says 3060 for images of 2048 pixels. shape: None if the image cannot be read; then
    no point is outside.
    """
    polygons: list[list[Polygon]] = [[] for _ in classes]
    try:
        annotations, problems = _load(path)
        if not problems:
            index_of = {composed(name): index for index, name in enumerate(classes)}
            drawn = [_check(f"{path}: annotation {index}", item, index_of, shape) for index, item in enumerate(annotations)]
            problems = _file_problems(path, drawn, shape)
            problems += [] if allow_missing else _missing_classes(path, annotations, classes)
            for label, points, _ in drawn:
                if label is not None:
                    polygons[label].append(_to_pixels(points, shape))
    except Exception as error:  # whatever the file holds: the faults of other files count too
        problems = [unreadable(path, error)]
    return polygons, problems


def _load(path: Path) -> tuple[list[Any], list[Problem]]:
    try:
        content = read_file(path, "annotation.json", MAX_BYTES, "JSON")
    except UserError as error:
        return [], list(error.problems)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return [], [Problem("annotation.json", str(path), "JSON in UTF-8", "UTF-16", "save it in UTF-8")]
    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_without_repeated_keys)
    except (ValueError, RecursionError) as error:
        return [], [Problem("annotation.json", str(path), "JSON", f"{type(error).__name__}: {error}"[:200], EXPORT)]
    annotations = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(annotations, list):
        return [], [Problem("annotation.list", str(path), 'a list "annotations" of polygons', "none", EXPORT)]
    if len(annotations) > MAX_POLYGONS:
        found = f"{len(annotations)}"
        return [], [Problem("annotation.list", str(path), f'at most {MAX_POLYGONS} polygons in "annotations"', found, EXPORT)]
    return annotations, []


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; Python's reader would keep only the last of two equal keys."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key is twice in one object")
    return document


def _check(place: str, annotation: Any, index_of: Mapping[str, int], shape: Shape | None) -> _Drawn:
    """One polygon. index_of: class in composed form -> its index."""
    if not isinstance(annotation, dict) or not isinstance(annotation.get("label"), str):
        found = _short(annotation)
        return _Drawn(None, NOTHING, [Problem("annotation.polygon", place, 'an object with "label" and "points"', found, REDRAW)])
    label, problems = annotation["label"], []
    place = f"{place} ({_short(label)})"
    if composed(label) not in index_of:
        found = f"the unknown label {_short(label)!r}"
        problems.append(Problem("annotation.label", place, "a class of data.classes", found, nearest(label[:60], list(index_of))))
    points = _as_points(annotation.get("points"))
    if points is None:
        found = _short(annotation.get("points"))
        return _Drawn(None, NOTHING, [*problems, Problem("annotation.points", place, "points as [[x, y], ...]", found, REDRAW)])
    problems += _point_problems(place, points, shape)
    return _Drawn(None if problems else index_of[composed(label)], points, problems)


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
    elif _is_line(_to_pixels(points, shape)):
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


def _is_line(points: Polygon) -> bool:
    """Whether all (n, 2) points are on one line, or are one point."""
    x, y = (points - points[0]).astype(np.float64).T
    far = np.argmax(np.abs(x) + np.abs(y))
    return not (x * y[far] - y * x[far]).any()


def _to_pixels(points: NDArray[np.float64], shape: Shape | None) -> Polygon:
    """Finite points -> the nearest whole pixels inside the image."""
    return np.clip(np.rint(points), 0, np.subtract(shape[::-1], 1) if shape else 2**30).astype(np.int32)


def _file_problems(path: Path, drawn: Sequence[_Drawn], shape: Shape | None) -> list[Problem]:
    """The faults of all polygons; coordinates relative to the image's size are one fault, instead of polygons without area."""
    problems = [problem for polygon in drawn for problem in polygon.problems]
    points = np.concatenate([NOTHING, *(polygon.points for polygon in drawn)])
    inside = len(points) and max(shape or (0,)) > 2 and ((points >= 0) & (points <= 1)).all()
    if not inside or not (points % 1).any():
        return problems
    fix = "multiply x by the image's width and y by its height"
    relative = Problem("annotation.relative", str(path), "points in pixels", "all coordinates in 0..1, relative to the image's size", fix)
    return [*(problem for problem in problems if problem.code != "annotation.no_area"), relative]


def _missing_classes(path: Path, annotations: Sequence[Any], classes: Sequence[str]) -> list[Problem]:
    labels = [annotation.get("label") for annotation in annotations if isinstance(annotation, dict)]
    named = {composed(label) for label in labels if isinstance(label, str)}
    missing = [name for name in classes if composed(name) not in named]
    found = f"{len(classes) - len(missing)}, without {', '.join(missing)}"
    fix = "draw the missing ones, name the sample in data.exclude, or set data.allow_missing"
    return [Problem("annotation.class_missing", str(path), f"all {len(classes)} classes", found, fix)] if missing else []
