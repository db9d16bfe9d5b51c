"""Which rows there are: missing, repeated, unknown, or in another order than the submission's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from handbone.doctor.table import Row, Table
from handbone.submission.csv import TestImage
from handbone.utils.csv_rows import quoted
from handbone.utils.errors import Problem, nearest
from handbone.utils.names import composed

SUGGESTIONS = 20  # unknown names for which the nearest known one is searched
RowOf = dict[tuple[str, str], Row]  # by key of the image and class
ORDER = "images sorted by path, and each image's classes in the order of data.classes"


def known_rows(table: Table, images: Mapping[str, TestImage], classes: Sequence[str]) -> tuple[RowOf, list[Problem]]:
    """The first row of each image and class, in the order of the file, and a problem for each other row and each missing one."""
    keys, labels = {composed(name): key for key, (name, _, _) in images.items()}, {composed(label): label for label in classes}
    found: RowOf = {}
    strangers = Counter[tuple[str, str]]()
    problems = []
    for row in table.rows:
        key, label = keys.get(composed(row.image)), labels.get(composed(row.label))
        if key is None:
            strangers["image", row.image] += 1
        if label is None:
            strangers["class", row.label] += 1
        if key is None or label is None:
            continue
        if (first := found.setdefault((key, label), row)) is not row:
            text = f"{quoted(row.image)}, {quoted(row.label)} again, first in line {first.line}"
            expected = "one row for each test image and class"
            problems.append(Problem("doctor.repeated_row", table.place(row), expected, text, "remove one of the two rows"))
    problems += _unknown(table, strangers, keys, labels)
    return found, problems + _order_problems(table, found, images, classes) + _missing(table, found, images, classes)


def _unknown(table: Table, strangers: Counter[tuple[str, str]], keys: Iterable[str], labels: Iterable[str]) -> list[Problem]:
    """A problem for each row of an unknown image or class; the fix offers the nearest name."""
    known = {"image": list(keys), "class": list(labels)}
    fixes = {(kind, name): nearest(name, known[kind]) for kind, name in list(strangers)[:SUGGESTIONS] if name.strip()}
    expected = {"image": "the file name of a test image", "class": "a class of params.yaml"}
    return [
        Problem(
            f"doctor.unknown_{kind}", table.place(row), expected[kind], quoted(name), _short(fixes.get((kind, name), "correct the name"))
        )
        for row in table.rows
        for kind, name in (("image", row.image), ("class", row.label))
        if (kind, name) in strangers
    ]


def _short(fix: str) -> str:
    """A list of hundreds of known names helps nobody."""
    return fix if len(fix) < 400 else "correct the name"


def _order_problems(table: Table, found: RowOf, images: Mapping[str, TestImage], classes: Sequence[str]) -> list[Problem]:
    """A problem for each row that comes after one that it should precede."""
    place, rank = {key: index for index, key in enumerate(images)}, {label: index for index, label in enumerate(classes)}
    problems, order = [], list(found)
    for (key_before, label_before), (key, label) in pairwise(order):
        kind = "image" if place[key] < place[key_before] else "class" if key == key_before and rank[label] < rank[label_before] else ""
        if kind:
            what = f"an {kind} that precedes the one before" if kind == "image" else f"a {kind} that precedes the one before"
            problem = Problem(f"doctor.{kind}_order", table.place(found[key, label]), ORDER, what, "sort the rows, or add --fix OUT.csv")
            problems.append(problem)
    return problems


def _missing(table: Table, found: RowOf, images: Mapping[str, TestImage], classes: Sequence[str]) -> list[Problem]:
    """A problem for each missing row; for an image without any row, or a class, one for all of them."""
    shown_images, shown_labels = {key for key, _ in found}, {label for _, label in found}
    lost = [f"{name} (all classes)" for key, (name, _, _) in images.items() if key not in shown_images]
    if shown_images:
        lost += [f"{label} (all images)" for label in classes if label not in shown_labels]
    lost += [
        f"{images[key][0]}, {label}"
        for key in images
        if key in shown_images
        for label in classes
        if label in shown_labels and (key, label) not in found
    ]
    expected = "one row for each test image and class"
    return [
        Problem("doctor.missing_row", f"{table.path}: {what}", expected, "no row", "add the row; that of an empty mask has an empty field")
        for what in lost
    ]
