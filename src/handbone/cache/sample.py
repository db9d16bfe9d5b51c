"""One npz per image: the image at cache size, and the full-resolution masks as boxes and compressed bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import UInt8Image
from handbone.masks.packed import PackedMasks
from handbone.utils.errors import Problem, raise_if_any
from handbone.utils.file_errors import reading
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_table
from handbone.utils.npz import LARGEST, NpzReader, open_npz, write_npz
from handbone.utils.parallel import prefetch_map

REBUILD = "run dvc repro; if that finds nothing to do, remove the file and run dvc repro again"


@dataclass(frozen=True)
class CachedSample:
    """One image of the data set.

    image: (h, w) or (h, w, 3) at cache size; shape: (H, W) at full resolution; masks: at full resolution, None in the test set.
    points: of a sample that has just been painted, the number of points of each polygon of each class; it is not stored.
    """

    image: UInt8Image
    shape: tuple[int, int]
    masks: PackedMasks | None
    points: Sequence[Sequence[int]] = ()

    @property
    def truth(self) -> PackedMasks:
        """The masks. Raises ValueError for a sample of the test set, which has none."""
        if self.masks is None:
            raise ValueError("expected a sample with masks; found one of the test set")
        return self.masks


def write_sample(path: Path, sample: CachedSample) -> None:
    """Write the npz; equal samples give equal bytes."""
    arrays: dict[str, NDArray[Any]] = {"image": sample.image, "shape": np.array(sample.shape, np.int32)}
    if sample.masks is not None:
        arrays |= {"boxes": sample.masks.boxes, "bits": sample.masks.bits}
    # an X-ray's noise hardly compresses: a quarter of a second per image would save only half of its size
    write_npz(path, arrays, stored=("image", "shape"))


def read_sample(path: Path) -> CachedSample:
    """Read the npz that `write_sample` wrote. Raises `UserError` (`cache.corrupt`) if it is not intact."""
    with open_npz(path, "cache.corrupt", REBUILD) as arrays:
        shape = _shape(arrays)
        return CachedSample(_image(arrays, shape), shape, PackedMasks.read(arrays, shape) if "boxes" in arrays.names else None)


def read_image(path: Path) -> tuple[UInt8Image, tuple[int, int]]:
    """The image, and its (H, W) at full resolution, without reading the masks. Raises `UserError` as `read_sample` does."""
    with open_npz(path, "cache.corrupt", REBUILD) as arrays:
        shape = _shape(arrays)
        return _image(arrays, shape), shape


def read_masks(path: Path, classes: int | None = None) -> PackedMasks:
    """The masks alone, without reading the image.

    classes: how many there must be; null: any number.
    Raises `UserError` as `read_sample` does; a ValueError for an image of the test set, which has none.
    """
    with open_npz(path, "cache.corrupt", REBUILD) as arrays:
        shape = _shape(arrays)
        masks = PackedMasks.read(arrays, shape) if "boxes" in arrays.names else None
        if masks is not None and classes not in (None, len(masks.boxes)):
            raise ValueError(f"{len(masks.boxes)} masks, not {classes}")
    if masks is None:
        raise ValueError(f"{path} has no masks")
    return masks


def check_samples(index: Path, files: Mapping[str, Path]) -> None:
    """Compare samples with the hashes that their index recorded when it was written.

    files: the npz of each sample by key. Raises `UserError` with each one that is missing, has changed, or is not in the index, and with
    each further npz in the folder of the index that this does not name.
    """
    table = read_table(index, ["key", "sha256"])
    recorded = dict(zip(table["key"], table["sha256"], strict=True))

    def problem(key: str) -> Problem | None:
        path = files[key]
        if key not in recorded:
            return Problem("cache.unknown", f"{index}: {key}", "a row of this sample", "none", REBUILD)
        if not path.is_file():
            return Problem("cache.missing", str(path), "the sample that the index names", "no file", REBUILD)
        with reading(path):
            same = file_hash(path) == recorded[key]
        return None if same else Problem("cache.changed", str(path), f"the file that {index} describes", "another one", REBUILD)

    problems = [found for found in prefetch_map(problem, files) if found is not None]
    unlisted = sorted(set(index.parent.rglob("*.npz")) - {index.parent / f"{key}.npz" for key in recorded})
    problems += [Problem("cache.unknown", str(path), f"a row of this sample in {index}", "none", REBUILD) for path in unlisted]
    raise_if_any(problems, f"the samples of {index} cannot be used")


def _shape(arrays: NpzReader) -> tuple[int, int]:
    arrays.require(("image", "shape"), ("image", "shape", "boxes", "bits"))
    height, width = arrays.read("shape", np.int32, (2,)).tolist()
    return height, width


def _image(arrays: NpzReader, shape: tuple[int, int]) -> UInt8Image:
    image = arrays.read("image", np.uint8, (None, None), (None, None, 3), limit=min(LARGEST, 3 * shape[0] * shape[1]))
    if not 0 < image.shape[0] <= shape[0] or not 0 < image.shape[1] <= shape[1]:
        raise ValueError(f"an image of {image.shape} in a sample of {shape}")
    return image
