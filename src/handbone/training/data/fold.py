"""The samples of one fold: what it trains on, what it is scored on."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from handbone.config import paths
from handbone.config.params import Params
from handbone.training.data.sampling import draws, without
from handbone.utils.errors import UserError
from handbone.utils.io import read_table


@dataclass(frozen=True)
class FoldSamples:
    """Rows of the training index, with each sample's cached file.

    train: also times (draws an epoch) and weight (in the loss), pseudo-labelled images last; held: the images of the fold's people.
    """

    train: pd.DataFrame
    held: pd.DataFrame


def fold_samples(fold: int, params: Params) -> FoldSamples:
    """Read the index, the folds and the pseudo-labels; a `UserError` for names in train.exclude or train.oversample that fit nothing."""
    table = read_table(paths.TRAIN_INDEX).merge(read_table(paths.FOLDS), on=["key", "person"])
    table["file"] = pd.Series([paths.cached_sample("train", key) for key in table["key"]], table.index, object)
    held = table[table["fold"] == fold]
    train = without(table[table["fold"] != fold], params.train.exclude, table)
    if not len(held) or not len(train):
        expected = f"folds: expected a fold from 0 to {params.split.n_folds - 1}, with images to train on"
        raise UserError(f"{expected}; found {len(held)} held out and {len(train)} to train on in fold {fold}; mend folds or train.exclude")
    times = draws(train, table, read_table(paths.AREAS), params.train.oversample, params.data.classes)
    train = train.assign(times=times, weight=1.0)
    pseudo = read_table(paths.PSEUDO_INDEX)
    pseudo["file"] = pd.Series([paths.pseudo_sample(key) for key in pseudo["key"]], pseudo.index, object)
    return FoldSamples(pd.concat([train, pseudo.assign(times=1.0)], ignore_index=True) if len(pseudo) else train, held)
