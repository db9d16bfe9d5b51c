"""One compressed npz an image: the image at cache size, the full-resolution masks as packed crops, their boxes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbone.data.masks import BoxedMasks, Mask


@dataclass(frozen=True)
class CachedSample:
    """image: (h, w) or (h, w, 3) uint8 at cache size; shape: (H, W) at full resolution; masks: at full resolution, None for test images."""

    image: NDArray[np.uint8]
    shape: tuple[int, int]
    masks: BoxedMasks | None


def write_sample(path: Path, sample: CachedSample) -> None:
    """Write the npz; equal samples give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {"image": sample.image, "shape": np.array(sample.shape, np.int32)}
    if sample.masks is not None:
        bits = [np.packbits(crop) for crop in sample.masks.crops]
        arrays |= {"boxes": sample.masks.boxes, "bits": np.concatenate(bits)}
    np.savez_compressed(path, **arrays, allow_pickle=False)


def read_sample(path: Path) -> CachedSample:
    """The npz as it was written."""
    with np.load(path, allow_pickle=False) as arrays:
        height, width = arrays["shape"].tolist()
        masks = _unpack((height, width), arrays["boxes"], arrays["bits"]) if "boxes" in arrays else None
        return CachedSample(arrays["image"], (height, width), masks)


def read_masks(path: Path) -> BoxedMasks | None:
    """The masks alone, without decompressing the image."""
    with np.load(path, allow_pickle=False) as arrays:
        height, width = arrays["shape"].tolist()
        return _unpack((height, width), arrays["boxes"], arrays["bits"]) if "boxes" in arrays else None


def _unpack(shape: tuple[int, int], boxes: NDArray[np.int32], bits: NDArray[np.uint8]) -> BoxedMasks:
    sizes = boxes[:, 2:] - boxes[:, :2]
    pixels = sizes.prod(1)
    pieces = np.split(bits, np.cumsum((pixels + 7) // 8)[:-1])
    crops: list[Mask] = [
        np.unpackbits(piece, count=count).view(bool).reshape(size) for piece, count, size in zip(pieces, pixels, sizes, strict=True)
    ]
    return BoxedMasks(shape, boxes, crops)
