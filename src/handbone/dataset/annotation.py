"""Annotation JSON -> polygons a class, with every fault of the file collected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbone.utils.errors import Problem, nearest

Polygon = NDArray[np.int32]
DRAW_AGAIN = "draw it again, or name the sample in data.exclude"


def read_polygons(
    path: Path, classes: Sequence[str], shape: tuple[int, int], allow_missing: bool
) -> tuple[list[list[Polygon]], list[Problem]]:
    """For each of C classes its polygons, (n, 2) int32 x, y in pixels of the (H, W) image; and every problem of the file.

    The size in the file's metadata is not read: in the competition it says 3060 where the image has 2048.
    Points are rounded to whole pixels.
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
    named = {annotation.get("label") for annotation in annotations if isinstance(annotation, dict)}
    absent = [name for name in classes if name not in named]
    if absent and not allow_missing:
        found = f"{len(classes) - len(absent)}, without {', '.join(absent)}"
        fix = "draw what is missing, name the sample in data.exclude, or set data.allow_missing"
        problems.append(Problem(str(path), f"all {len(classes)} classes", found, fix))
    return polygons, problems


def _load(path: Path) -> tuple[list[Any], list[Problem]]:
    fix = "export it again, or name the sample in data.exclude"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [], [Problem(str(path), "JSON", f"{type(error).__name__}: {error}", fix)]
    annotations = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(annotations, list):
        return [], [Problem(str(path), 'a list "annotations" of polygons', "none", fix)]
    return annotations, []


def _check(where: str, annotation: Any, classes: Sequence[str], shape: tuple[int, int]) -> tuple[int | None, Polygon, list[Problem]]:
    nothing = np.zeros((0, 2), np.int32)
    if not isinstance(annotation, dict) or not isinstance(annotation.get("label"), str):
        return None, nothing, [Problem(where, 'an object with "label" and "points"', str(annotation)[:60], DRAW_AGAIN)]
    label, problems = annotation["label"], []
    where = f"{where} ({label})"
    if label not in classes:
        problems.append(Problem(where, "a class of data.classes", f"the unknown label {label!r}", nearest(label, classes)))
    try:
        given = np.asarray(annotation.get("points"), np.float64)
        points = given.reshape(len(given), 2)  # no more and no fewer numbers than x and y
    except (TypeError, ValueError):
        return None, nothing, [*problems, Problem(where, "points as [[x, y], ...]", str(annotation.get("points"))[:60], DRAW_AGAIN)]
    if len(points) < 3 or not np.isfinite(points).all():
        problems.append(Problem(where, "at least 3 finite points", f"{len(points)}", DRAW_AGAIN))
    rounded = np.rint(np.nan_to_num(points))
    outside = points[((rounded < 0) | (rounded >= [shape[1], shape[0]])).any(1)]
    if len(outside):
        found = f"{len(outside)} outside, the first at ({outside[0][0]:g}, {outside[0][1]:g})"
        problems.append(Problem(where, f"points inside the {shape[1]}x{shape[0]} image", found, DRAW_AGAIN))
    return (None if problems else classes.index(label)), rounded.astype(np.int32), problems
