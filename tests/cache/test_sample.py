"""A sample to npz and back."""

from pathlib import Path

import numpy as np
import pytest

from handbone.cache.sample import CachedSample, read_masks, read_sample, write_sample
from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks


def sample(masks: bool, colour: bool = False) -> CachedSample:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (20, 30, 3) if colour else (20, 30), np.uint8)
    dense = rng.random((7, 40, 60)) < 0.3
    dense[2] = False
    return CachedSample(image, (40, 60), PackedMasks.pack(BoxedMasks.from_dense(dense)) if masks else None)


@pytest.mark.parametrize("colour", [False, True])
def test_round_trip(tmp_path: Path, colour: bool) -> None:
    written = sample(masks=True, colour=colour)
    write_sample(tmp_path / "a/b.npz", written)
    read = read_sample(tmp_path / "a/b.npz")
    assert np.array_equal(read.image, written.image) and read.shape == (40, 60)
    assert read.masks is not None and written.masks is not None
    assert np.array_equal(read.masks.unpack().dense(), written.masks.unpack().dense())
    assert np.array_equal(read_masks(tmp_path / "a/b.npz").bits, written.masks.bits)


def test_a_test_image_has_no_masks(tmp_path: Path) -> None:
    write_sample(tmp_path / "b.npz", sample(masks=False))
    assert read_sample(tmp_path / "b.npz").masks is None
    with pytest.raises(ValueError, match="no masks"):
        read_masks(tmp_path / "b.npz")


def test_equal_samples_give_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_sample(tmp_path / f"{name}.npz", sample(masks=True))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
