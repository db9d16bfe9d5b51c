"""What folds are balanced by: the labels that `split.stratify` names, as the training images alone have them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from handbone.dataset.attributes import images_by_value, person_attributes
from handbone.dataset.shapes import SHAPE, ShapeGroups
from handbone.utils.errors import Problem, nearest, raise_if_any
from handbone.utils.names import composed

CLASSES = "classes"
MAX_STRATA = 20  # values of one attribute: balancing 60 ages balances nothing
PLACE = "params.yaml: split.stratify"


def image_attributes(index: pd.DataFrame, areas: pd.DataFrame, stratify: Sequence[str]) -> pd.DataFrame:
    """One row per image, by key, and one column per attribute: those of people, and `shape` if `stratify` names it; empty: unknown.

    index: of the training images; areas: rows of key, class, pixels, x, y of their masks.
    Raises `UserError` for a name that is an attribute of people too, and as `ShapeGroups.fit` does.
    """
    attributes = person_attributes(index)
    ambiguous = [name for name in (CLASSES, SHAPE) if name in stratify and name in attributes]
    fix = "rename the column of people.csv"
    raise_if_any([Problem("split.name", f"{PLACE}: {name}", "one meaning", f"a column person_{name} too", fix) for name in ambiguous], "")
    return attributes.assign(**{SHAPE: ShapeGroups.fit(areas, index).of(areas, index)}) if SHAPE in stratify else attributes


def strata(attributes: pd.DataFrame, areas: pd.DataFrame, stratify: Sequence[str]) -> dict[str, set[str]]:
    """The keys of the images of each label to balance: each value of the attributes (`wrist=bent`), each class that some images lack.

    Raises `UserError` with each name that is no attribute, and with each attribute of more than `MAX_STRATA` values.
    """
    names = [composed(name) for name in stratify if name != CLASSES]
    problems = [problem for name in names if (problem := _name_problem(name, attributes))]
    raise_if_any(problems, "the folds cannot be balanced")
    labels = images_by_value(attributes, names)
    return labels | (_rare_classes(areas, len(attributes)) if CLASSES in stratify else {})


def _name_problem(name: str, attributes: pd.DataFrame) -> Problem | None:
    if name not in attributes:
        known = [CLASSES, SHAPE, *map(str, attributes)]
        return Problem("split.stratify", PLACE, f"{CLASSES}, {SHAPE} or an attribute of people.csv", name, nearest(name, known))
    if (values := attributes[name].nunique()) > MAX_STRATA:
        fix = "group the values in people.csv, such as ages into ranges"
        return Problem("split.values", f"{PLACE}: {name}", f"at most {MAX_STRATA} values", str(values), fix)
    return None


def _rare_classes(areas: pd.DataFrame, images: int) -> dict[str, set[str]]:
    keys = areas[areas["pixels"] > 0].groupby("class", sort=False)["key"]
    return {str(name): set(shown) for name, shown in keys if len(shown) < images}
