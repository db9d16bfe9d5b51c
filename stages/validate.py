"""Every fold's model on its own held-out people, at full resolution -> probabilities, counts, Dice per class."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from handbone import paths
from handbone.errors import run
from handbone.inference.predict import Feed, predict
from handbone.inference.probabilities import Probabilities
from handbone.inference.tta import ensemble
from handbone.models.storage import load_model
from handbone.params import Params, load_params
from handbone.scoring.dice import counts_table, mean_dice, per_class
from handbone.scoring.heldout import heldout_counts
from handbone.tables import read_table, write_table


def validate_fold(fold: int, keys: list[str], params: Params, device: torch.device) -> pd.DataFrame:
    """Save the probabilities of the fold's held-out images -> rows of key, class, tp, fp, fn, fold."""
    model, settings = load_model(paths.fold_model(fold))
    files = [paths.cached_sample("train", key) for key in keys]

    def finish(index: int, probabilities: Probabilities) -> pd.DataFrame:
        probabilities.save(paths.probabilities(paths.OOF, keys[index]))
        counts = heldout_counts(files[index], probabilities, params.predict.threshold)
        return counts_table(keys[index], settings.classes, counts)

    feed = Feed(settings.size, settings.in_channels, params.predict.batch_size, device)
    tables = predict(ensemble([model.to(device)], params.predict), files, feed, finish, f"validate fold {fold}")
    return pd.concat(tables).assign(fold=fold)


def main() -> None:
    """Run the stage."""
    params = load_params()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folds = read_table(paths.FOLDS)
    tables = [validate_fold(fold, folds.loc[folds["fold"] == fold, "key"].tolist(), params, device) for fold in params.folds]
    table = pd.concat(tables, ignore_index=True)
    write_table(table, paths.VALIDATION_COUNTS)
    write_table(per_class(table).reset_index(), paths.DICE_PER_CLASS)
    print(f"held-out Dice {mean_dice(table):.4f} over {table['key'].nunique()} images and {len(np.unique(table['class']))} classes")


if __name__ == "__main__":
    run(main)
