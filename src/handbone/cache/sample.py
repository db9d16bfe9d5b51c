"""One npz an image: the image at cache size, the full-resolution masks as compressed bits, their boxes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbone.masks.packed import PackedMasks
from handbone.utils.io import write_npz


@dataclass(frozen=True)
class CachedSample:
    """image: (h, w) or (h, w, 3) uint8 at cache size; shape: (H, W) at full resolution; masks: at full resolution, None for test images."""

    image: NDArray[np.uint8]
    shape: tuple[int, int]
    masks: PackedMasks | None


def write_sample(path: Path, sample: CachedSample) -> None:
    """Write the npz; equal samples give equal bytes."""
    arrays: dict[str, NDArray[Any]] = {"image": sample.image, "shape": np.array(sample.shape, np.int32)}
    if sample.masks is not None:
        arrays |= {"boxes": sample.masks.boxes, "bits": sample.masks.bits}
    # an X-ray's noise does not compress: a quarter of a second a picture would buy half its size
    write_npz(path, arrays, stored=("image", "shape"))


def read_sample(path: Path) -> CachedSample:
    """The npz as it was written."""
    with np.load(path, allow_pickle=False) as arrays:
        height, width = arrays["shape"].tolist()
        return CachedSample(arrays["image"], (height, width), _masks(arrays))


def read_masks(path: Path) -> PackedMasks:
    """The masks alone, without reading the image; a ValueError for a test image, which has none."""
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
