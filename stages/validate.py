"""Out-of-fold probabilities -> the decision, and the counts and Dice of the held-out people under it. No network runs."""

from __future__ import annotations

import pandas as pd
from tqdm import tqdm

from handbone.cache.sample import read_masks
from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.evaluation.decision import Decision, decided_counts
from handbone.evaluation.dice import counts_table, mean_dice, per_class
from handbone.evaluation.predictions import read_predictions_record
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.errors import run_cli
from handbone.utils.io import read_table, write_table
from handbone.utils.parallel import prefetch_map


def held_out(params: Params) -> dict[str, int]:
    """The fold of each held-out image by key, fold by fold in the order of params.yaml; checks that its probabilities exist."""
    table = read_table(paths.FOLDS)
    folds = {str(key): fold for fold in params.folds for key in table.loc[table["fold"] == fold, "key"]}
    files = {key: paths.prediction("oof", key) for key in folds}
    read_predictions_record(paths.prediction_record("oof"), files, params.folds, params.data.classes)
    return folds


def validation_counts(folds: dict[str, int], classes: list[str], decision: Decision) -> pd.DataFrame:
    """The held-out images under the decision -> rows of key, class, tp, fp, fn, fold (pixels)."""

    def counts(key: str) -> pd.DataFrame:
        maps, truth = CroppedMaps.load(paths.prediction("oof", key)), read_masks(paths.cached_sample("train", key))
        return counts_table(key, classes, decided_counts(maps, truth, decision)).assign(fold=folds[key])

    tables = tqdm(prefetch_map(counts, folds), "validate", len(folds), unit="image")
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    """Run the stage."""
    params = load_params()
    folds, decision = held_out(params), Decision(params.decide.threshold)
    table = validation_counts(folds, params.data.classes, decision)
    decision.save(paths.DECISION)
    write_table(paths.VALIDATION_COUNTS, table)
    write_table(paths.DICE_PER_CLASS, per_class(table).reset_index())
    print(f"held-out Dice {mean_dice(table):.4f} over {table['key'].nunique()} images and {len(params.data.classes)} classes")


if __name__ == "__main__":
    run_cli(main)
