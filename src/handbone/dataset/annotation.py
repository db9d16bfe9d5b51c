"""Polygons of each class from one annotation JSON, with every fault of the file collected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbone.masks.rasterize import Polygon
from handbone.utils.errors import Problem, nearest

REDRAW = "correct it, or name the sample in data.exclude"


def read_polygons(
    path: Path, classes: Sequence[str], shape: tuple[int, int], allow_missing: bool
) -> tuple[list[list[Polygon]], list[Problem]]:
    """C lists of (n, 2) int32 polygons, x, y in pixels of the (H, W) image, in the order of `classes`; and every problem of the file.

    Points are rounded to whole pixels. The image size in the file's metadata is not read: in the competition it says 3060 for images of
    2048 pixels.
    """
    polygons: list[list[Polygon]] = [[] for _ in classes]
    annotations, problems = _load(path)
    if problems:
        return polygons, problems
    for index, annotation in enumerate(annotations):
        label, points, faults = _check(f"{path}: annotation {index}", annotation, classes, shape)
        problems += faults
        if label is not None:
            polygons[label].append(points)
    if not allow_missing:
        problems += _missing_classes(path, annotations, classes)
    return polygons, problems


def _load(path: Path) -> tuple[list[Any], list[Problem]]:
    fix = "export it again, or name the sample in data.exclude"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [], [Problem("annotation.json", str(path), "JSON", f"{type(error).__name__}: {error}", fix)]
    annotations = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(annotations, list):
        return [], [Problem("annotation.list", str(path), 'a list "annotations" of polygons', "none", fix)]
    return annotations, []


def _check(place: str, annotation: Any, classes: Sequence[str], shape: tuple[int, int]) -> tuple[int | None, Polygon, list[Problem]]:
    """The polygon's class, as an index or None if there is a fault, its (n, 2) points, and its faults."""
    nothing = np.zeros((0, 2), np.int32)
    if not isinstance(annotation, dict) or not isinstance(annotation.get("label"), str):
        found = str(annotation)[:60]
        return None, nothing, [Problem("annotation.polygon", place, 'an object with "label" and "points"', found, REDRAW)]
    label, problems = annotation["label"], []
    place = f"{place} ({label})"
    if label not in classes:
        found = f"the unknown label {label!r}"
        problems.append(Problem("annotation.label", place, "a class of data.classes", found, nearest(label, classes)))
    try:
        given = np.asarray(annotation.get("points"), np.float64)
        points = given.reshape(len(given), 2)  # neither more nor fewer numbers than x and y
    except (TypeError, ValueError):
        found = str(annotation.get("points"))[:60]
        return None, nothing, [*problems, Problem("annotation.points", place, "points as [[x, y], ...]", found, REDRAW)]
    problems += _point_problems(place, points, shape)
    return (None if problems else classes.index(label)), np.rint(np.nan_to_num(points)).astype(np.int32), problems


def _point_problems(place: str, points: NDArray[np.float64], shape: tuple[int, int]) -> list[Problem]:
    """The faults of a polygon's (n, 2) points x, y in an (H, W) image."""
    problems = []
    infinite = np.count_nonzero(~np.isfinite(points).all(1))
    if len(points) < 3 or infinite:
        found = f"{len(points)}" + (f", {infinite} of them not finite" if infinite else "")
        problems.append(Problem("annotation.points", place, "at least 3 points, all of them finite", found, REDRAW))
    rounded = np.rint(np.nan_to_num(points))
    outside = points[((rounded < 0) | (rounded >= [shape[1], shape[0]])).any(1)]
    if len(outside):
        found = f"{len(outside)} outside, the first at ({outside[0][0]:g}, {outside[0][1]:g})"
        problems.append(Problem("annotation.outside", place, f"points inside the {shape[1]}x{shape[0]} image", found, REDRAW))
    return problems


def _missing_classes(path: Path, annotations: Sequence[Any], classes: Sequence[str]) -> list[Problem]:
    named = {annotation.get("label") for annotation in annotations if isinstance(annotation, dict)}
    missing = [name for name in classes if name not in named]
    found = f"{len(classes) - len(missing)}, without {', '.join(missing)}"
    fix = "draw the missing ones, name the sample in data.exclude, or set data.allow_missing"
    return [Problem("annotation.class_missing", str(path), f"all {len(classes)} classes", found, fix)] if missing else []
