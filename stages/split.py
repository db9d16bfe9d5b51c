"""The training index -> data/folds.csv: every training image's fold, no person in two."""

from __future__ import annotations

from typing import Any

import pandas as pd
from handbone.dataset.splits import assign_folds

from handbone.config import paths
from handbone.config.params import load_params
from handbone.utils.errors import run_cli
from handbone.utils.io import read_table, write_json, write_table


def report(folds: pd.DataFrame, areas: pd.DataFrame) -> dict[str, Any]:
    """People, images and mean class areas of each fold, and in how many folds the most spread person lies (1: none crosses)."""
    joined = areas.merge(folds, on="key")
    means = joined.groupby(["fold", "class"], sort=False)["pixels"].mean().round(1)
    return {
        "folds_of_a_person_at_most": int(folds.groupby("person")["fold"].nunique().max()),
        "folds": {
            str(fold): {"people": int(rows["person"].nunique()), "images": len(rows), "mean_area_px": means[fold].to_dict()}
            for fold, rows in folds.groupby("fold")
        },
    }


def main() -> None:
    """Run the stage."""
    params = load_params()
    train = read_table(paths.TRAIN_INDEX)[["key", "person"]]
    images = {str(person): len(rows) for person, rows in train.groupby("person")}
    dealt = assign_folds(images, params.split.n_folds, params.split.seed)
    folds = train.assign(fold=train["person"].map(dealt))
    summary = report(folds, read_table(paths.AREAS))
    if summary["folds_of_a_person_at_most"] != 1:
        raise AssertionError("a person lies in two folds")
    write_table(paths.FOLDS, folds)
    write_json(paths.SPLIT_REPORT, summary)
    for fold, row in summary["folds"].items():
        print(f"fold {fold}: {row['people']} people, {row['images']} images")
    print("no person lies in two folds")


if __name__ == "__main__":
    run_cli(main)
