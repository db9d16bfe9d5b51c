"""Classes that are on one side of nearly all images: where left and right are different classes, mirroring needs to know the pairs."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from types import MappingProxyType

import pandas as pd

from handbone.config.params import Params
from handbone.masks.packed import PackedMasks
from handbone.utils.errors import Problem, warn

MIN_IMAGES, MIN_SHARE = 8, 0.95  # images that show a class, and the share of them in which it is on its side
MAX_DISTANCE = 0.1  # share of the image's sides between the mean place of a class and that of its partner, mirrored
MAX_RATIO = 2.0  # of the mean areas of two partners
ANY_RATIO = 0.05  # how much a factor of e between the areas counts beside the distance


def centres(masks: PackedMasks) -> list[tuple[float, float]]:
    """C masks of an (H, W) image -> x and y of each box's centre as shares of W and H, both 0 for an empty mask."""
    height, width = masks.shape
    boxes = masks.boxes.astype(float)
    x, y = (boxes[:, 1] + boxes[:, 3]) / (2 * width), (boxes[:, 0] + boxes[:, 2]) / (2 * height)
    return list(zip(x.round(4).tolist(), y.round(4).tolist(), strict=True))


def likely_pairs(areas: pd.DataFrame, classes: Sequence[str], given: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Classes that seem to be partners: each is on one side of nearly all images, at the mirrored place and of about the same area.

    areas: rows of key, class, pixels, x, y (see `centres`); given: the known pairs, whose classes are left out.
    """
    shown = areas[areas["pixels"] > 0]
    known = dict(given) | _sided_pairs(shown, classes, [*given, *given.values()])
    # again with the middle between partners instead of the image's, which classes near the middle are on both sides of
    return _sided_pairs(_centred(shown, known), classes, [*given, *given.values()])


def _sided_pairs(shown: pd.DataFrame, classes: Sequence[str], paired: Collection[str]) -> dict[str, str]:
    """The pairs of nearest classes left and right of x = 0.5, in the order of `classes`."""
    groups = shown[~shown["class"].isin(list(paired))].assign(left=shown["x"] < 0.5).groupby("class")
    table = groups[["pixels", "x", "y", "left"]].mean()[groups.size() >= MIN_IMAGES]
    left, right = table[table["left"] >= MIN_SHARE], table[table["left"] <= 1 - MIN_SHARE]
    both = product(left.itertuples(), right.itertuples())
    distances = sorted((_distance(one, other), str(one.Index), str(other.Index)) for one, other in both)
    partner: dict[str, str] = {}
    for distance, one, other in distances:  # the nearest first, each class once
        if distance <= MAX_DISTANCE and not {one, other} & {*partner}:
            partner |= {one: other, other: one}
    return {name: partner[name] for place, name in enumerate(classes) if partner.get(name) in classes[place + 1 :]}


def _centred(shown: pd.DataFrame, pairs: Mapping[str, str]) -> pd.DataFrame:
    """The same with x moved so that the mean of the partners' middles is 0.5 in each image that shows some."""
    x = shown.pivot(index="key", columns="class", values="x")
    middles = pd.DataFrame({name: (x[name] + x[other]) / 2 for name, other in pairs.items() if name in x and other in x}, index=x.index)
    return shown.assign(x=shown["x"] + 0.5 - shown["key"].map(middles.mean(axis=1)).fillna(0.5))


def warn_of_missing_pairs(areas: pd.DataFrame, params: Params, augment_mirrors: bool = False) -> None:
    """Print a warning with the likely pairs that data.mirror lacks, if something mirrors: augmentation, or the views of `infer`."""
    used = {"train.augment": augment_mirrors, "infer.hflip": params.infer.hflip, "infer.vflip": params.infer.vflip}
    mirroring = " and ".join(name for name, mirrors in used.items() if mirrors)
    given = params.data.mirror
    pairs = likely_pairs(areas, params.data.classes, given) if mirroring else {}
    if not pairs:
        return
    names = ", ".join(name for pair in pairs.items() for name in pair)
    expected = f"pairs of classes that swap in mirrored images ({mirroring})"
    found = f"none for {names}, each on one side in nearly all images"
    fix = f"if left and right are different classes, write `mirror: {json.dumps(given | pairs, ensure_ascii=False)}` in section data"
    warn(Problem("data.mirror", "params.yaml: data.mirror", expected, found, fix))


def _distance(one: object, other: object) -> float:
    """How far the second class is from the mirrored place of the first, with a little for unequal areas; inf if these are too unequal."""
    ratio = abs(math.log(one.pixels / other.pixels))  # type: ignore[attr-defined]
    away = math.hypot(1 - one.x - other.x, one.y - other.y)  # type: ignore[attr-defined]
    return away + ANY_RATIO * ratio if ratio <= math.log(MAX_RATIO) else math.inf
