"""Out-of-fold probabilities -> the decision, and the counts and Dice of the held-out people under it. No network runs."""

from __future__ import annotations

import pandas as pd
from tqdm import tqdm

from handbone.cache.sample import check_samples, read_masks
from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.dataset.folds import read_folds
from handbone.evaluation.decision import Decision, decided_counts
from handbone.evaluation.dice import counts_table, mean_dice, per_class
from handbone.evaluation.predictions import Predictions, read_predictions
from handbone.utils.errors import run_cli
from handbone.utils.io import write_table
from handbone.utils.parallel import prefetch_map


def held_out(params: Params) -> tuple[dict[str, int], Predictions]:
    """The fold of each held-out image by key, fold by fold in the order of params.yaml; and the predictions, checked as the images are."""
    table = read_folds(paths.FOLDS, paths.TRAIN_INDEX, params.folds)
    folds = {str(key): fold for fold in params.folds for key in table.loc[table["fold"] == fold, "key"]}
    check_samples(paths.TRAIN_INDEX, {key: paths.cached_sample("train", key) for key in folds})
    files, tables = {key: paths.prediction("oof", key) for key in folds}, [paths.TRAIN_INDEX, paths.FOLDS]
    record = paths.prediction_record("oof")
    return folds, read_predictions(record, files, params.folds, params.data.classes, tables, paths.FOLDS)


def validation_counts(folds: dict[str, int], predictions: Predictions, decision: Decision) -> pd.DataFrame:
    """The held-out images under the decision -> rows of key, class, tp, fp, fn, fold (pixels)."""
    classes = predictions.classes

    def counts(key: str) -> pd.DataFrame:
        truth = read_masks(paths.cached_sample("train", key), len(classes))
        maps = predictions.load(key, truth.shape)
        return counts_table(key, classes, decided_counts(maps, truth, decision)).assign(fold=folds[key])

    tables = tqdm(prefetch_map(counts, folds), "validate", len(folds), unit="image")
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    """Run the stage."""
    params = load_params()
    (folds, predictions), decision = held_out(params), Decision(params.decide.threshold)
    table = validation_counts(folds, predictions, decision)
    write_table(paths.VALIDATION_COUNTS, table)
    decision.save(paths.DECISION, *paths.DECIDED_WITH)
    write_table(paths.DICE_PER_CLASS, per_class(table).reset_index())
    print(f"held-out Dice {mean_dice(table):.4f} over {table['key'].nunique()} images and {len(params.data.classes)} classes")


if __name__ == "__main__":
    run_cli(main)
