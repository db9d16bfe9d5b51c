"""What the training images and their folds are like: areas and overlaps of the classes, attributes, people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from handbone.cache.sample import CachedSample
from handbone.dataset.attributes import person_attributes, with_few_values
from handbone.evaluation.dice import dice
from handbone.masks.overlaps import overlaps
from handbone.masks.packed import PackedMasks
from handbone.masks.runs import RunLengthMasks
from handbone.utils.parallel import prefetch_map

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassStatistics:
    """Of C classes in N training images at full resolution.

    pixels: (N,) of the images; areas: (N, C) pixels, 0 where a class is absent.
    within: (C, C), at [a, b] the share of a's pixels that lie in b, of all images together; 0 on the diagonal.
    multiple: (C,) the share of a class's pixels that are in another class too; contested: the same of all pixels in any class.
    exclusive: (C,) the mean Dice of labels that exclude each other and are right at every pixel: where classes overlap, a pixel belongs
    to the one that is smallest in the image. Dice as in the competition, so an absent class counts as 1.
    """

    pixels: NDArray[np.int64]
    areas: NDArray[np.int64]
    within: Floats
    multiple: Floats
    contested: float
    exclusive: Floats


@dataclass(frozen=True)
class DataSet:
    """The training images, and people of both subsets.

    classes: C names; statistics: of these; people: images of each person of the training set.
    folds: by fold, the columns images, people, and each class that some image lacks: images that show it.
    values: images by attribute and value, of the attributes with few values; columns `fold <k>` and `test`.
    """

    classes: Sequence[str]
    statistics: ClassStatistics
    people: pd.Series
    folds: pd.DataFrame
    values: pd.DataFrame


def describe_data(tables: Iterable[pd.DataFrame], classes: Sequence[str], read: Callable[[str], CachedSample]) -> DataSet:
    """tables: that of the folds, and the cache's indexes of train and test; read: a training image by key."""
    folds, train, test = tables
    images = prefetch_map(lambda key: read(key).truth, train["key"])
    statistics = class_statistics(tqdm(images, "data", len(train), unit="image"))
    folds = train[["key"]].merge(folds, on="key")
    by_fold = images_by_fold(folds, statistics.areas, classes)
    return DataSet(classes, statistics, folds["person"].value_counts(), by_fold, images_by_value(folds, train, test))


def class_statistics(images: Iterable[PackedMasks]) -> ClassStatistics:
    """The statistics of the masks of at least one image, which are read one after the other."""
    shapes, found = zip(*((masks.shape, overlaps(RunLengthMasks.from_packed(masks))) for masks in images), strict=True)
    shared = sum((one.shared for one in found), np.zeros_like(found[0].shared))
    areas, kept = np.stack([np.diagonal(one.shared) for one in found]), np.stack([one.kept for one in found])
    totals = np.maximum(np.diagonal(shared), 1)
    return ClassStatistics(
        pixels=np.prod(shapes, 1),
        areas=areas,
        within=np.where(np.eye(len(totals), dtype=bool), 0.0, shared / totals[:, None]),
        multiple=np.sum([one.multiple for one in found], 0) / totals,
        contested=sum(one.contested for one in found) / max(1, sum(one.covered for one in found)),
        exclusive=dice(np.stack([kept, np.zeros_like(kept), areas - kept], -1)).mean(0),
    )


def images_by_fold(folds: pd.DataFrame, areas: NDArray[np.int64], classes: Sequence[str]) -> pd.DataFrame:
    """The table of folds and the (N, C) areas of its images -> by fold: images, people; and images of each class that some image lacks."""
    shown = pd.DataFrame(areas > 0, folds.index, list(classes))
    lacking = [name for name in classes if not shown[name].all()]
    table = folds.groupby("fold").agg(images=("key", "size"), people=("person", "nunique"))
    return table.join(shown[lacking].groupby(folds["fold"]).sum())


def images_by_value(folds: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Images of each value of each attribute with few values: rows by attribute and value; columns `fold <k>` and `test`.

    train, test: the indexes of the cache. An empty value is an unknown one.
    """
    known, others = person_attributes(train), person_attributes(test)
    names = with_few_values(known)
    places = "fold " + folds.set_index("key")["fold"].astype(str)
    rows = pd.concat(
        [
            table.assign(attribute=name, value=table[name], place=place)[["attribute", "value", "place"]]
            for name in names
            for table, place in ((known, places.reindex(known.index)), (others, "test"))
            if name in table
        ]
        or [pd.DataFrame(columns=["attribute", "value", "place"])]
    )
    return pd.crosstab([rows["attribute"], rows["value"]], rows["place"])
