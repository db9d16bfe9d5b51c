"""Which samples an epoch draws, how often, and in which order: the same on every machine, and divided among processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from handbone.utils.errors import Problem, UserError, nearest, raise_if_any
from handbone.utils.io import ATTRIBUTE
from handbone.utils.names import composed

# (epoch, index, repeat), repeat: the number of the draw among those of the same image; enough to compute the same augmentation anywhere
SampleIndex = tuple[int, int, int]
PADDING = -1  # in place of the repeat: a sample of weight 0, for a process that has no sample of a batch


class ResumableBatchSampler:
    """Batches of `SampleIndex`, shuffled by seed and epoch; their sizes differ by at most one, so that no batch has a single image.

    sampling_rates: mean number of draws per epoch, for each image; rank, world_size: this process and the number of processes, each of
    which gets its part of every batch. `epoch` is the epoch to draw; its first `start` batches are skipped, as a resumed training has
    done them.
    """

    def __init__(self, sampling_rates: Sequence[float], batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self._rates, self._seed, self._rank, self._world_size = np.asarray(sampling_rates, np.float64), seed, rank, world_size
        self._total = max(1, round(float(self._rates.sum())))
        self._count = -(-self._total // batch_size)
        self.epoch, self.start = 0, 0

    def __len__(self) -> int:
        return self._count

    @property
    def images(self) -> int:
        """How many images an epoch draws, in all processes together."""
        return self._total

    @property
    def smaller(self) -> int:
        """How many batches of an epoch, its last ones, have an image less than the others."""
        return -self._total % self._count

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        rng = np.random.default_rng([self._seed, self.epoch])
        drawn = _draw(self._rates, self._total, rng)
        for batch in np.array_split(rng.permutation(drawn), self._count)[self.start :]:
            part = np.array_split(batch, self._world_size)[self._rank]
            yield [(self.epoch, int(index), int(repeat)) for index, repeat in part] or [(self.epoch, int(batch[0, 0]), PADDING)]


def _draw(rates: NDArray[np.float64], total: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(total, 2) rows of index and repeat; every index is drawn as often as its rate says, rounded up or down.

    Systematic sampling: evenly spaced pointers over the cumulated rates, with a random offset.
    """
    if (rates == 1).all():
        indices = np.arange(total)
    else:
        ends = np.cumsum(rates) * (total / rates.sum())
        indices = np.minimum(np.searchsorted(ends, np.arange(total) + rng.random(), side="right"), len(rates) - 1)
    first = np.searchsorted(indices, indices)  # position of the first draw of each index; the indices are sorted
    return np.stack([indices, np.arange(total) - first], 1)


def sampling_rates(
    images: pd.DataFrame, all_images: pd.DataFrame, areas: pd.DataFrame, oversample: Mapping[str, float], classes: Sequence[str]
) -> NDArray[np.float64]:
    """Draws per epoch of each of `images`, rows of the cache's index.

    A rate is the product of the factors for the image's key, person and attributes, times the largest factor of the classes it shows.
    Names are compared in Unicode's composed form.
    all_images: the images that names may refer to, including held-out ones; areas: rows of key, class, pixels.
    Raises `UserError` for names that are neither class, person, sample nor attribute=value, and if all rates are 0.
    """
    shown = areas[areas["pixels"] > 0]
    columns = {composed(name.removeprefix(ATTRIBUTE)): name for name in images.columns if name.startswith(ATTRIBUTE)}
    labels = [composed(label) for label in classes]
    _check_names("train.oversample", oversample, {*labels, *_keys_and_people(all_images), *_attribute_values(all_images, columns)})
    rates, largest = np.ones(len(images)), np.full(len(images), np.nan)
    for number, factor in class_factors(oversample, classes).items():
        shows = images["key"].isin(shown.loc[shown["class"] == classes[number], "key"]).to_numpy()
        largest = np.where(shows, np.fmax(largest, factor), largest)
    for name, factor in oversample.items():
        if composed(name) not in labels:
            rates[_matches(images, composed(name), columns).to_numpy()] *= factor
    rates *= np.where(np.isnan(largest), 1, largest)
    if not rates.any():
        place, expected = "params.yaml: train.oversample", "at least one image that is drawn"
        raise UserError(Problem("train.oversample_nothing", place, expected, "a factor of 0 for every image", "raise one of them"))
    return rates


def class_factors(oversample: Mapping[str, float], classes: Sequence[str]) -> dict[int, float]:
    """The factors in `oversample` that are those of classes, by the number of the class."""
    factors = {composed(name): factor for name, factor in oversample.items()}
    return {number: factors[composed(name)] for number, name in enumerate(classes) if composed(name) in factors}


def drop_excluded(images: pd.DataFrame, excluded: Sequence[str], all_images: pd.DataFrame) -> pd.DataFrame:
    """`images` without those whose person or key is in `excluded`, in whichever spelling of Unicode.

    Raises `UserError` for each name that no image of `all_images` has.
    """
    _check_names("train.exclude", excluded, _keys_and_people(all_images))
    names = [composed(name) for name in excluded]
    return images[~(images["key"].map(composed).isin(names) | images["person"].map(composed).isin(names))]


def _check_names(parameter: str, names: Sequence[str] | Mapping[str, float], known: set[str]) -> None:
    expected = "a person or a sample" if parameter == "train.exclude" else "a class, a person, a sample, or attribute=value of people.csv"
    place = f"params.yaml: {parameter}"
    unknown = [name for name in names if composed(name) not in known]
    raise_if_any(
        [Problem(parameter, f"{place}: {name}", expected, repr(name), nearest(name, sorted(known))) for name in unknown],
        f"{parameter} cannot be used",
    )


def _keys_and_people(images: pd.DataFrame) -> set[str]:
    return {composed(name) for name in [*images["key"], *images["person"]]}


def _matches(images: pd.DataFrame, name: str, columns: Mapping[str, str]) -> pd.Series[bool]:
    """Which images have the attribute=value, the key or the person of that name."""
    attribute, value = _split_attribute(name, columns)
    if attribute in columns:
        return images[columns[attribute]].map(composed) == value
    return (images["key"].map(composed) == name) | (images["person"].map(composed) == name)


def _split_attribute(name: str, columns: Mapping[str, str]) -> tuple[str, str]:
    """attribute=value -> attribute, value; both may contain an equals sign themselves."""
    attribute = next((known for known in columns if name.startswith(f"{known}=")), "")
    return attribute, name.removeprefix(f"{attribute}=")


def _attribute_values(images: pd.DataFrame, columns: Mapping[str, str]) -> set[str]:
    """Every attribute=value that some image has."""
    return {f"{name}={composed(value)}" for name, column in columns.items() for value in images[column].unique()}
