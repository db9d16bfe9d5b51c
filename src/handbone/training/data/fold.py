"""The samples of one fold: those to train on, and those to validate on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from handbone.cache.sample import check_samples
from handbone.config.params import Params
from handbone.dataset.folds import read_folds
from handbone.training.data.sampling import drop_excluded, sampling_rates
from handbone.utils.errors import Problem, UserError
from handbone.utils.io import read_class_table, read_table


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

    def check_files(self, files: TrainFiles) -> None:
        """Raise `UserError` that lists each npz that is missing or is not the one that the tables in `files` describe."""
        pairs = list(zip(self.train["key"], self.train["file"], strict=True))
        pseudo = {key: file for key, file in pairs if file == files.pseudo_sample(key)}
        check_samples(files.index, {key: file for key, file in pairs if file == files.sample(key)} | self.val_files())
        if pseudo:
            check_samples(files.pseudo_index, pseudo)


def fold_argument(arguments: Sequence[str], n_folds: int) -> int:
    """The fold that the stage's command line names. Raises `UserError` (stage.argument) for anything but one number below `n_folds`."""
    if len(arguments) != 1 or not arguments[0].isdecimal() or int(arguments[0]) >= n_folds:
        expected, found = f"the number of a fold, 0 to {n_folds - 1} (split.n_folds)", " ".join(arguments) or "nothing"
        raise UserError(Problem("stage.argument", "python -m stages.train", expected, found, "name one, e.g. 0"))
    return int(arguments[0])


def fold_samples(fold: int, params: Params, files: TrainFiles) -> FoldSamples:
    """Divide the training images by the table of folds, and add the pseudo-labelled images.

    Raises `UserError` for names in train.exclude or train.oversample that no image has, for a fold without images of either kind, for
    masks of other classes than those of params.yaml, and for tables that do not belong together.
    """
    index, folds = read_table(files.index), read_folds(files.folds, files.index, [fold], params.split.n_folds)
    images = index.merge(folds, on=["key", "person"])
    images["file"] = pd.Series([files.sample(key) for key in images["key"]], images.index, object)
    val = images[images["fold"] == fold]
    train = drop_excluded(images[images["fold"] != fold], params.train.exclude, images)
    if not len(train):
        expected, found = f"images to train on, outside fold {fold}", "none that train.exclude leaves"
        raise UserError(Problem("train.fold", "params.yaml: train.exclude", expected, found, "exclude fewer people or samples"))
    areas = read_class_table(files.areas, ["pixels"], index["key"])
    _check_classes(files.areas, areas, params.data.classes)
    rates = sampling_rates(train, images, areas, params.train.oversample, params.data.classes)
    train = train.assign(rate=rates, weight=1.0)
    pseudo = read_table(files.pseudo_index)
    pseudo["file"] = pd.Series([files.pseudo_sample(key) for key in pseudo["key"]], pseudo.index, object)
    return FoldSamples(pd.concat([train, pseudo.assign(rate=1.0)], ignore_index=True) if len(pseudo) else train, val)


def _check_classes(path: Path, areas: pd.DataFrame, classes: Sequence[str]) -> None:
    """Raise `UserError` if the cached masks are not those of the classes, in their order: a mask has no name of its own."""
    cached = list(dict.fromkeys(areas["class"]))
    if cached != list(classes):
        expected, found = f"masks of {', '.join(classes)} (params.yaml: data.classes)", ", ".join(cached)
        raise UserError(Problem("cache.classes", str(path), expected, found, "run dvc repro, which caches them again"))
