"""One npz an image: the image at cache size, the full-resolution masks as compressed bits, their boxes."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from handbone.data.packed import PackedMasks


@dataclass(frozen=True)
class CachedSample:
    """image: (h, w) or (h, w, 3) uint8 at cache size; shape: (H, W) at full resolution; masks: at full resolution, None for test images."""

    image: NDArray[np.uint8]
    shape: tuple[int, int]
    masks: PackedMasks | None


def write_sample(path: Path, sample: CachedSample) -> None:
    """Write the npz; equal samples give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        # an X-ray's noise does not compress: a quarter of a second a picture would buy half its size
        _write(archive, "image", sample.image, zipfile.ZIP_STORED)
        _write(archive, "shape", np.array(sample.shape, np.int32), zipfile.ZIP_STORED)
        if sample.masks is not None:
            _write(archive, "boxes", sample.masks.boxes, zipfile.ZIP_DEFLATED)
            _write(archive, "bits", sample.masks.bits, zipfile.ZIP_DEFLATED)


def read_sample(path: Path) -> CachedSample:
    """The npz as it was written."""
    with np.load(path, allow_pickle=False) as arrays:
        height, width = arrays["shape"].tolist()
        return CachedSample(arrays["image"], (height, width), _masks(arrays))


def read_masks(path: Path) -> PackedMasks | None:
    """The masks alone, without reading the image."""
    with np.load(path, allow_pickle=False) as arrays:
        return _masks(arrays)


def _write(archive: zipfile.ZipFile, name: str, array: NDArray[Any], compression: int) -> None:
    member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, as NumPy does: when it was written is not part of the sample
    member.compress_type = compression
    with archive.open(member, "w", force_zip64=True) as file:
        npy.write_array(file, array, allow_pickle=False)


def _masks(arrays: Any) -> PackedMasks | None:
    if "boxes" not in arrays:
        return None
    height, width = arrays["shape"].tolist()
    return PackedMasks((height, width), arrays["boxes"], arrays["bits"])
