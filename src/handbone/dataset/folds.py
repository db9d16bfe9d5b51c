"""The table of folds, data/folds.csv, as its readers need it: every training image once, and no person in two folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from handbone.utils.csv_rows import quoted
from handbone.utils.errors import Problem, raise_if_any
from handbone.utils.io import read_table

COLUMNS = ["key", "person", "fold"]
FIX = "run dvc repro, which assigns the folds again; if it finds nothing to do, remove {} first"


def read_folds(path: Path, index: Path, folds: Sequence[int], n_folds: int | None = None) -> pd.DataFrame:
    """The table of key, person and fold, checked against the index of the training images.

    folds: those of params.yaml that are going to be used; each needs images. n_folds: how many there are, if the caller knows.
    Raises `UserError` with every image that only one of the two tables has, every image of another person, every person in two folds, and
    every fold that does not exist or has no image.
    """
    table, images = read_table(path, COLUMNS), read_table(index, ["key", "person"])
    problems = _image_problems(path, table, index, images) + _person_problems(path, table) + _fold_problems(path, table, folds, n_folds)
    raise_if_any(problems, f"{path} cannot be used")
    return table.astype({"fold": int})


def _image_problems(path: Path, table: pd.DataFrame, index: Path, images: pd.DataFrame) -> list[Problem]:
    in_table = dict(zip(table["key"], table["person"], strict=True))
    in_index = dict(zip(images["key"], images["person"], strict=True))
    expected, fix = f"the images of {index}", FIX.format(path)
    problems = [Problem("folds.missing", f"{path}: {key}", expected, "no row", fix) for key in in_index if key not in in_table]
    problems += [Problem("folds.unknown", f"{path}: {key}", expected, "another one", fix) for key in in_table if key not in in_index]
    return problems + [
        Problem("folds.person", f"{path}: {key}", f"the person {quoted(in_index[key])}, as in {index}", quoted(person), fix)
        for key, person in in_table.items()
        if in_index.get(key, person) != person
    ]


def _person_problems(path: Path, table: pd.DataFrame) -> list[Problem]:
    expected = "one fold for all images of a person, as otherwise the score is that of memory"
    return [
        Problem("folds.person_twice", f"{path}: {person}", expected, f"folds {', '.join(map(str, sorted(set(numbers))))}", FIX.format(path))
        for person, numbers in table.groupby("person", sort=False)["fold"]
        if numbers.nunique() > 1
    ]


def _fold_problems(path: Path, table: pd.DataFrame, folds: Sequence[int], n_folds: int | None) -> list[Problem]:
    expected = "whole numbers from 0" + (f" to {n_folds - 1} (params.yaml: split.n_folds)" if n_folds else "")
    wrong = (table["fold"] % 1 != 0) | (table["fold"] < 0) | (table["fold"] >= (n_folds or math.inf))
    problems = [
        Problem("folds.number", f"{path}: {key}", expected, f"fold {fold}", FIX.format(path))
        for key, fold in table.loc[wrong, ["key", "fold"]].itertuples(index=False, name=None)
    ]
    fix = "correct folds in params.yaml"
    return problems + [
        Problem("folds.empty", f"params.yaml: folds: {fold}", f"a fold of {path}", "one without images", fix)
        for fold in folds
        if not (table["fold"] == fold).any()
    ]
