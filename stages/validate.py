"""Out-of-fold probabilities -> the decision, and the counts and Dice of the held-out people under it. No network runs."""

from __future__ import annotations

from functools import partial

import pandas as pd

from handbone.cache.sample import read_masks
from handbone.config import paths
from handbone.config.params import load_params
from handbone.evaluation.decision import Decision, decided_counts
from handbone.evaluation.dice import counts_table, mean_dice, per_class
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.errors import run_cli
from handbone.utils.io import read_table, write_table
from handbone.utils.parallel import prefetch_map


def image_counts(key: str, classes: list[str], decision: Decision) -> pd.DataFrame:
    """Rows of key, class, tp, fp, fn of one held-out image."""
    maps = CroppedMaps.load(paths.prediction("oof", key))
    truth = read_masks(paths.cached_sample("train", key))
    return counts_table(key, classes, decided_counts(maps, truth, decision))


def main() -> None:
    """Run the stage."""
    params = load_params()
    decision = Decision(params.decide.threshold)
    folds = read_table(paths.FOLDS)
    tables = []
    for fold in params.folds:
        keys = folds.loc[folds["fold"] == fold, "key"].astype(str)
        rows = prefetch_map(partial(image_counts, classes=params.data.classes, decision=decision), keys)
        tables.append(pd.concat(rows).assign(fold=fold))
    table = pd.concat(tables, ignore_index=True)
    decision.save(paths.DECISION)
    write_table(paths.VALIDATION_COUNTS, table)
    write_table(paths.DICE_PER_CLASS, per_class(table).reset_index())
    print(f"held-out Dice {mean_dice(table):.4f} over {table['key'].nunique()} images and {len(params.data.classes)} classes")


if __name__ == "__main__":
    run_cli(main)
