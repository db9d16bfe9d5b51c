"""The training index -> data/folds.csv: every training image's fold, no person in two."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from handbone import paths
from handbone.data.folds import deal
from handbone.errors import run
from handbone.params import load_params
from handbone.tables import read_table, write_table


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
    dealt = deal(images, params.split.n_folds, params.split.seed)
    folds = train.assign(fold=train["person"].map(dealt))
    summary = report(folds, read_table(paths.AREAS))
    if summary["folds_of_a_person_at_most"] != 1:
        raise AssertionError("a person lies in two folds")
    write_table(folds, paths.FOLDS)
    paths.SPLIT_REPORT.parent.mkdir(parents=True, exist_ok=True)
    paths.SPLIT_REPORT.write_text(json.dumps(summary, indent=1) + "\n")
    for fold, row in summary["folds"].items():
        print(f"fold {fold}: {row['people']} people, {row['images']} images")
    print("no person lies in two folds")


if __name__ == "__main__":
    run(main)
