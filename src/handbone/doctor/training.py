"""What the masks of the training images are like: where each class is, how large, and in how many pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.cache.sample import read_masks
from handbone.masks.boxed import BoxedMasks
from handbone.utils.io import read_class_table, read_table

Floats = NDArray[np.float64]
EXAMPLES = 64  # images whose masks are read; areas and centres are those of all images
MIN_IMAGES = 8  # that show a class, before anything is said about where or how large it is


@dataclass(frozen=True)
class Training:
    """areas: (N, C) shares of the image; x: (N, C) centres as shares of the width; both NaN where a class is absent.

    places: (N,) the image's number among those of its person, sorted by name. layouts: (M, C, 4) of M images, as `layout` gives them.
    pieces: (C,) the most pieces of one mask.
    """

    areas: Floats
    x: Floats
    places: NDArray[np.int64]
    layouts: Floats
    pieces: NDArray[np.int64]


def read_training(index: Path, areas: Path, cached: Callable[[str], Path], classes: Sequence[str]) -> Training:
    """Read the tables of the training images, and the masks of up to `EXAMPLES` of them.

    cached: the npz of a sample by key. Raises `UserError` if a table or a sample is missing or broken.
    """
    samples = read_table(index, ["key", "height", "width"]).set_index("key")
    table = read_class_table(areas, ["pixels", "x", "y"], samples.index, classes)
    table = table.assign(share=table["pixels"] / table["key"].map(samples["height"] * samples["width"]))
    seen = table[table["pixels"] > 0]
    shares, x = (
        seen.pivot(index="key", columns="class", values=name).reindex(index=samples.index, columns=list(classes)).to_numpy(float)
        for name in ("share", "x")
    )
    keys = list(samples.index)
    examples = [keys[number] for number in np.unique(np.linspace(0, len(keys) - 1, min(EXAMPLES, len(keys))).astype(int))]
    masks = [read_masks(cached(key), len(classes)).unpack() for key in examples]
    layouts = np.stack([layout(of_image) for of_image in masks])
    return Training(shares, x, places_of(keys), layouts, np.max([pieces(of_image) for of_image in masks], axis=0))


def layout(masks: BoxedMasks) -> Floats:
    """C masks of an (H, W) image -> (C, 4) x, y of each box's centre, width, height, as shares of W and H; NaN for an empty mask."""
    y0, x0, y1, x1 = masks.boxes.astype(float).T
    height, width = masks.shape
    boxes = np.stack([(x0 + x1) / (2 * width), (y0 + y1) / (2 * height), (x1 - x0) / width, (y1 - y0) / height], axis=1)
    return np.where((y1 > y0)[:, None], boxes, np.nan)


def pieces(masks: BoxedMasks) -> NDArray[np.int64]:
    """-> (C,) number of pieces of each mask; pixels that touch at a corner are one piece."""
    return np.array([cv2.connectedComponents(crop.view(np.uint8), connectivity=8)[0] - 1 if crop.size else 0 for crop in masks.crops])


def places_of(keys: Sequence[str]) -> NDArray[np.int64]:
    """Sorted keys -> the number of each among those of its person: hands come in pairs, the right one before the left one."""
    seen: dict[str, int] = {}
    places = []
    for key in keys:
        person = key.split("/")[0]
        places.append(seen.get(person, 0))
        seen[person] = places[-1] + 1
    return np.array(places, np.int64)
