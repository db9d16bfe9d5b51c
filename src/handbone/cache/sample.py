"""One npz per image: the image at cache size, and the full-resolution masks as boxes and compressed bits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import UInt8Image
from handbone.masks.packed import PackedMasks
from handbone.utils.io import write_npz


@dataclass(frozen=True)
class CachedSample:
    """One image of the data set.

    image: (h, w) or (h, w, 3) at cache size; shape: (H, W) at full resolution; masks: at full resolution, None in the test set.
    """

    image: UInt8Image
    shape: tuple[int, int]
    masks: PackedMasks | None


def write_sample(path: Path, sample: CachedSample) -> None:
    """Write the npz; equal samples give equal bytes."""
    arrays: dict[str, NDArray[Any]] = {"image": sample.image, "shape": np.array(sample.shape, np.int32)}
    if sample.masks is not None:
        arrays |= {"boxes": sample.masks.boxes, "bits": sample.masks.bits}
    # an X-ray's noise hardly compresses: a quarter of a second per image would save only half of its size
    write_npz(path, arrays, stored=("image", "shape"))


def read_sample(path: Path) -> CachedSample:
    """Read the npz that `write_sample` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        height, width = arrays["shape"].tolist()
        return CachedSample(arrays["image"], (height, width), _masks(arrays))


def read_masks(path: Path) -> PackedMasks:
    """The masks alone, without reading the image; a ValueError for an image of the test set, which has none."""
    with np.load(path, allow_pickle=False) as arrays:
        masks = _masks(arrays)
    if masks is None:
        raise ValueError(f"{path} has no masks")
    return masks


def _masks(arrays: Any) -> PackedMasks | None:
    if "boxes" not in arrays:
        return None
    height, width = arrays["shape"].tolist()
    return PackedMasks((height, width), arrays["boxes"], arrays["bits"])
