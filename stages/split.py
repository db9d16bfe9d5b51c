"""Stage `split`: assign people to folds -> data/folds.csv, the fold of every training image. Folds never split a person."""

from __future__ import annotations

from typing import Any

import pandas as pd

from handbone.config import paths
from handbone.config.params import load_params
from handbone.dataset.splits import assign_folds, lacking_folds
from handbone.utils.errors import Problem, UserError, run_cli, warn
from handbone.utils.io import read_class_table, read_table, write_json, write_table


def summarise(folds: pd.DataFrame, areas: pd.DataFrame) -> dict[str, Any]:
    """People, images and mean class areas of each fold, and the largest number of folds that contain the same person."""
    joined = areas.merge(folds, on="key")
    means = joined.groupby(["fold", "class"], sort=False)["pixels"].mean().round(1)
    return {
        "max_folds_per_person": int(folds.groupby("person")["fold"].nunique().max()),
        "folds": {
            str(fold): {"people": int(rows["person"].nunique()), "images": len(rows), "mean_area_px": means[fold].to_dict()}
            for fold, rows in folds.groupby("fold")
        },
    }


def check_areas(train: pd.DataFrame, areas: pd.DataFrame) -> None:
    """Raise `UserError` if the areas are not those of the training images."""
    odd = sorted(set(train["key"]) ^ set(areas["key"]))
    if odd:
        found, fix = f"{len(odd)} images in one of the two only, such as {odd[0]}", "run dvc repro, which writes both again"
        raise UserError(Problem("split.areas", str(paths.AREAS), f"the images of {paths.TRAIN_INDEX}", found, fix))


def lacking(folds: pd.DataFrame, areas: pd.DataFrame, n_folds: int) -> list[Problem]:
    """Folds that have no mask of a class to validate with, or none to train with."""
    drawn = areas[areas["pixels"] > 0].merge(folds, on="key").groupby("class", sort=False)["fold"]
    return lacking_folds({str(name): set(values.tolist()) for name, values in drawn}, n_folds)


def main() -> None:
    """Run the stage."""
    params = load_params()
    train = read_table(paths.TRAIN_INDEX)[["key", "person"]]
    images = {str(person): len(rows) for person, rows in train.groupby("person")}
    fold_of = assign_folds(images, params.split.n_folds, params.split.seed)
    folds, areas = train.assign(fold=train["person"].map(fold_of)), read_class_table(paths.AREAS, ["pixels"])
    check_areas(train, areas)
    warnings = lacking(folds, areas, params.split.n_folds)
    warn(*warnings)
    summary = summarise(folds, areas) | {"warnings": [str(problem) for problem in warnings]}
    if summary["max_folds_per_person"] != 1:
        raise AssertionError("a person is in two folds")
    write_table(paths.FOLDS, folds)
    write_json(paths.SPLIT_REPORT, summary)
    for fold, row in summary["folds"].items():
        print(f"fold {fold}: {row['people']} people, {row['images']} images")
    print("No person is in two folds.")


if __name__ == "__main__":
    run_cli(main)
