"""Which samples an epoch draws, how often, and in which order: the same on every machine, and shared out among processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from handbone.utils.errors import Problem, UserError, nearest, raise_if_any
from handbone.utils.io import ATTRIBUTE

SampleIndex = tuple[int, int, int]  # (epoch, index, draw): a worker process needs no other state to draw the same augmentation again
PADDING = -1  # in place of the draw: a sample that only fills a process's empty share, and weighs nothing


class ResumableBatchSampler:
    """Batches of tickets, shuffled by seed and epoch; sizes differ by one at most, so that none is left with one image.

    times: how often an epoch draws each image, on average; rank, world: of so many processes this one takes its share of every batch;
    a process whose share is empty gets a sample that weighs nothing. `start` batches of the epoch are skipped: they are done.
    """

    def __init__(self, times: Sequence[float], batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self._times, self._seed, self._rank, self._world = np.asarray(times, np.float64), seed, rank, world
        self._total = max(1, round(float(self._times.sum())))
        self._count = -(-self._total // batch_size)
        self.epoch, self.start = 0, 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        rng = np.random.default_rng([self._seed, self.epoch])
        drawn = _drawn(self._times, self._total, rng)
        for batch in np.array_split(rng.permutation(drawn), self._count)[self.start :]:
            share = np.array_split(batch, self._world)[self._rank]
            yield [(self.epoch, int(index), int(draw)) for index, draw in share] or [(self.epoch, int(batch[0, 0]), PADDING)]


def _drawn(times: NDArray[np.float64], total: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(total, 2) indices and the number of the draw among those of its index; each is drawn `times` often, rounded up or down.

    Systematic sampling: evenly spaced pointers over the cumulated times, set off by chance.
    """
    if (times == 1).all():
        indices = np.arange(total)
    else:
        ends = np.cumsum(times) * (total / times.sum())
        indices = np.minimum(np.searchsorted(ends, np.arange(total) + rng.random(), side="right"), len(times) - 1)
    first = np.searchsorted(indices, indices)  # of each index; they rise
    return np.stack([indices, np.arange(total) - first], 1)


def draws(
    images: pd.DataFrame, all_images: pd.DataFrame, areas: pd.DataFrame, oversample: Mapping[str, float], classes: Sequence[str]
) -> NDArray[np.float64]:
    """How often an epoch draws each of `images`, rows of the cache's index: the product of the factors that fit its key, person and
    attributes, times the largest of the classes that it shows.

    all_images: what names may refer to, the held-out ones too; areas: rows of key, class, pixels.
    Raises `UserError` for names that are neither class, person, sample nor attribute=value, and where nothing is left to draw.
    """
    shown = areas[areas["pixels"] > 0]
    columns = {name.removeprefix(ATTRIBUTE): name for name in images.columns if name.startswith(ATTRIBUTE)}
    known = {*classes, *all_images["key"], *all_images["person"], *_values(all_images, columns)}
    unknown = [name for name in oversample if name not in known]
    expected = "a class, a person, a sample, or attribute=value of people.csv"
    problems = [Problem("params.yaml: train.oversample", expected, repr(name), nearest(name, sorted(known))) for name in unknown]
    raise_if_any(problems, "train.oversample cannot be used")
    times, of_classes = np.ones(len(images)), np.full(len(images), np.nan)
    for name, factor in oversample.items():
        if name in classes:
            shows = images["key"].isin(shown.loc[shown["class"] == name, "key"]).to_numpy()
            of_classes = np.where(shows, np.fmax(of_classes, factor), of_classes)
            continue
        attribute, value = _parted(name, columns)
        named = (images["key"] == name) | (images["person"] == name)
        fits = images[columns[attribute]] == value if attribute in columns else named
        times[fits.to_numpy()] *= factor
    times *= np.where(np.isnan(of_classes), 1, of_classes)
    if not times.any():
        raise UserError("params.yaml: train.oversample: expected some image to be drawn; found factors that leave none; raise one above 0")
    return times


def _parted(name: str, columns: Mapping[str, str]) -> tuple[str, str]:
    """The attribute and the value that attribute=value means; either may hold the sign itself."""
    attribute = next((known for known in columns if name.startswith(f"{known}=")), "")
    return attribute, name.removeprefix(f"{attribute}=")


def _values(images: pd.DataFrame, columns: Mapping[str, str]) -> set[str]:
    """Every attribute=value that some image has."""
    return {f"{name}={value}" for name, column in columns.items() for value in images[column].dropna().unique()}


def without(images: pd.DataFrame, excluded: Sequence[str], all_images: pd.DataFrame) -> pd.DataFrame:
    """`images` without those whose person or key is `excluded`; a `UserError` lists names that none of `all_images` has."""
    known = {*all_images["key"], *all_images["person"]}
    unknown = [name for name in excluded if name not in known]
    problems = [Problem("params.yaml: train.exclude", "a person or sample", repr(name), nearest(name, sorted(known))) for name in unknown]
    raise_if_any(problems, "train.exclude cannot be used")
    return images[~(images["key"].isin(excluded) | images["person"].isin(excluded))]
