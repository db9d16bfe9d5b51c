"""The samples of one fold: those to train on, and those to validate on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from handbone.config.params import Params
from handbone.training.data.sampling import drop_excluded, sampling_rates
from handbone.utils.errors import Problem, UserError
from handbone.utils.io import read_table


@dataclass(frozen=True)
class TrainFiles:
    """The files that a training reads, except for its initial weights.

    index: table of the training images; areas: their classes' pixels; folds: table of key, person, fold; pseudo_index: table of the
    pseudo-labelled images; sample, pseudo_sample: the npz of an image by its key.
    """

    index: Path
    areas: Path
    folds: Path
    pseudo_index: Path
    sample: Callable[[str], Path]
    pseudo_sample: Callable[[str], Path]


@dataclass(frozen=True)
class FoldSamples:
    """Rows of the training index, with the npz of each sample in the column `file`.

    train: also rate (draws per epoch) and weight (in the loss), pseudo-labelled images last; val: the images of the fold's people.
    """

    train: pd.DataFrame
    val: pd.DataFrame

    def val_files(self) -> dict[str, Path]:
        """The npz of each validation sample by key."""
        return dict(zip(self.val["key"], self.val["file"], strict=True))


def fold_samples(fold: int, params: Params, files: TrainFiles) -> FoldSamples:
    """Divide the training images by the table of folds, and add the pseudo-labelled images.

    Raises `UserError` for names in train.exclude or train.oversample that no image has, and for a fold without images of either kind.
    """
    images = read_table(files.index).merge(read_table(files.folds), on=["key", "person"])
    images["file"] = pd.Series([files.sample(key) for key in images["key"]], images.index, object)
    val = images[images["fold"] == fold]
    train = drop_excluded(images[images["fold"] != fold], params.train.exclude, images)
    if not len(val) or not len(train):
        expected = f"a fold from 0 to {params.split.n_folds - 1} with images for training and validation"
        found = f"{len(train)} to train on and {len(val)} to validate on in fold {fold}"
        raise UserError(Problem("train.fold", "params.yaml: folds", expected, found, "correct folds or train.exclude"))
    rates = sampling_rates(train, images, read_table(files.areas), params.train.oversample, params.data.classes)
    train = train.assign(rate=rates, weight=1.0)
    pseudo = read_table(files.pseudo_index)
    pseudo["file"] = pd.Series([files.pseudo_sample(key) for key in pseudo["key"]], pseudo.index, object)
    return FoldSamples(pd.concat([train, pseudo.assign(rate=1.0)], ignore_index=True) if len(pseudo) else train, val)
