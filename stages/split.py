"""Stage `split`: assign people to folds -> data/folds.csv, the fold of every training image. Folds never split a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from handbone.config import paths
from handbone.config.params import load_params
from handbone.dataset.attributes import images_by_value, with_few_values
from handbone.dataset.splits import assign_folds, lacking_folds
from handbone.dataset.strata import image_attributes, strata
from handbone.utils.errors import Problem, UserError, warn
from handbone.utils.io import read_class_table, read_table, write_json, write_table
from stages import run_stage

INDEX = ["key", "person", "height", "width"]
Labels = Mapping[str, set[str]]  # label -> keys of its images


def summarise(folds: pd.DataFrame, areas: pd.DataFrame, labels: Labels) -> dict[str, Any]:
    """People, images, images of each label and mean class areas of each fold, and the largest number of folds of the same person."""
    joined = areas.merge(folds, on="key")
    means = joined.groupby(["fold", "class"], sort=False)["pixels"].mean().round(1)
    return {
        "max_folds_per_person": int(folds.groupby("person")["fold"].nunique().max()),
        "folds": {
            str(fold): {
                "people": int(rows["person"].nunique()),
                "images": len(rows),
                "labels": {name: int(rows["key"].isin(keys).sum()) for name, keys in labels.items()},
                "mean_area_px": means[fold].to_dict(),
            }
            for fold, rows in folds.groupby("fold")
        },
    }


def check_areas(train: pd.DataFrame, areas: pd.DataFrame) -> None:
    """Raise `UserError` if the areas are not those of the training images."""
    odd = sorted(set(train["key"]) ^ set(areas["key"]))
    if odd:
        found, fix = f"{len(odd)} images in one of the two only, such as {odd[0]}", "run dvc repro, which writes both again"
        raise UserError(Problem("split.areas", str(paths.AREAS), f"the images of {paths.TRAIN_INDEX}", found, fix))


def lacking(folds: pd.DataFrame, areas: pd.DataFrame, values: Labels, n_folds: int) -> list[Problem]:
    """Folds that have no mask of a class or no image of a value to validate with, or none to train with."""
    fold_of = dict(zip(folds["key"], folds["fold"].tolist(), strict=True))
    drawn = areas[areas["pixels"] > 0].groupby("class", sort=False)["key"]
    classes = {str(name): {fold_of[key] for key in keys} for name, keys in drawn}
    groups = {name: {fold_of[key] for key in keys} for name, keys in values.items()}
    return lacking_folds(classes, n_folds, "class") + lacking_folds(groups, n_folds, "value")


def main() -> None:
    """Run the stage."""
    params = load_params()
    train, areas = read_table(paths.TRAIN_INDEX, INDEX), read_class_table(paths.AREAS, ["pixels", "x", "y"])
    check_areas(train, areas)
    attributes = image_attributes(train, areas, params.split.stratify)
    labels = strata(attributes, areas, params.split.stratify)
    person_of = dict(zip(train["key"], train["person"], strict=True))
    counts = {name: Counter(person_of[key] for key in keys) for name, keys in labels.items()}
    fold_of = assign_folds(Counter(train["person"]), params.split.n_folds, params.split.seed, counts)
    folds = train[["key", "person"]].assign(fold=train["person"].map(fold_of))
    warnings = lacking(folds, areas, images_by_value(attributes, with_few_values(attributes)), params.split.n_folds)
    warn(*warnings)
    summary = summarise(folds, areas, labels) | {"warnings": [str(problem) for problem in warnings]}
    if summary["max_folds_per_person"] != 1:
        raise AssertionError("a person is in two folds")
    write_table(paths.FOLDS, folds)
    write_json(paths.SPLIT_REPORT, summary)
    for fold, row in summary["folds"].items():
        print(", ".join([f"fold {fold}: {row['people']} people, {row['images']} images", *(f"{n} {c}" for n, c in row["labels"].items())]))
    print("No person is in two folds.")


if __name__ == "__main__":
    run_stage(main)
