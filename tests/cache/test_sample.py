"""A sample to npz and back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from handbone.cache.sample import CachedSample, check_samples, read_image, read_masks, read_sample, write_sample
from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks
from handbone.utils.errors import UserError
from handbone.utils.hashing import file_hash
from handbone.utils.io import write_table
from handbone.utils.npz import write_npz

if TYPE_CHECKING:
    from conftest import Fails


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
    image, shape = read_image(tmp_path / "a/b.npz")
    assert np.array_equal(image, written.image) and shape == (40, 60)


def test_a_test_image_has_no_masks(tmp_path: Path) -> None:
    write_sample(tmp_path / "b.npz", sample(masks=False))
    read = read_sample(tmp_path / "b.npz")
    assert read.masks is None
    with pytest.raises(ValueError, match="masks"):
        _ = read.truth
    with pytest.raises(ValueError, match="no masks"):
        read_masks(tmp_path / "b.npz")


def test_equal_samples_give_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_sample(tmp_path / f"{name}.npz", sample(masks=True))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("image", np.zeros((20, 30), np.float32)),
        ("image", np.zeros((20, 30, 4), np.uint8)),
        ("image", np.zeros((41, 30), np.uint8)),
        ("image", np.zeros((0, 30), np.uint8)),
        ("shape", np.array([20, 60], np.int32)),
        ("shape", np.array([-40, -60], np.int32)),
        ("shape", np.array([40, 60], np.float32)),
        ("boxes", np.zeros((7, 4), np.int32)),
        ("bits", np.zeros(3, np.uint8)),
        ("bits", None),
        ("image", None),
        ("more", np.zeros(1, np.uint8)),
    ],
)
def test_a_file_that_is_no_sample_is_an_error(tmp_path: Path, fails: Fails, name: str, array: np.ndarray | None) -> None:
    path, written = tmp_path / "a.npz", sample(masks=True)
    assert written.masks is not None
    sound: dict[str, Any] = {"image": written.image, "shape": np.array([40, 60], np.int32)}
    sound |= {"boxes": written.masks.boxes, "bits": written.masks.bits}
    write_npz(path, {key: value for key, value in (sound | {name: array}).items() if value is not None})
    with fails("cache.corrupt", "a.npz"):
        read_sample(path)


def test_masks_of_another_number_of_classes_are_an_error(tmp_path: Path, fails: Fails) -> None:
    write_sample(tmp_path / "a.npz", sample(masks=True))
    assert len(read_masks(tmp_path / "a.npz", 7).boxes) == 7
    with fails("cache.corrupt", "a.npz"):
        read_masks(tmp_path / "a.npz", 6)


@pytest.fixture
def cache(tmp_path: Path) -> tuple[Path, dict[str, Path]]:
    """Three samples and their index."""
    files = {f"P/{name}": tmp_path / f"P/{name}.npz" for name in "abc"}
    for name, path in files.items():
        image = np.full((20, 30), ord(name[-1]), np.uint8)
        write_sample(path, CachedSample(image, (40, 60), sample(masks=True).masks))
    rows = [(key, file_hash(path)) for key, path in files.items()]
    write_table(tmp_path / "index.csv", pd.DataFrame(rows, columns=["key", "sha256"]))
    return tmp_path / "index.csv", files


def test_samples_are_those_of_their_index(cache: tuple[Path, dict[str, Path]]) -> None:
    index, files = cache
    check_samples(index, files)
    check_samples(index, {"P/b": files["P/b"]})
    check_samples(index, {})


def test_a_row_that_is_gone_from_the_index_is_noticed(cache: tuple[Path, dict[str, Path]], fails: Fails) -> None:
    """Otherwise a test image would be missing from the submission, and nobody would notice."""
    index, files = cache
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:-1]))
    with fails("cache.unknown", str(files["P/c"])):
        check_samples(index, {"P/a": files["P/a"]})


def test_each_sample_that_is_missing_changed_or_of_another_image_is_listed(cache: tuple[Path, dict[str, Path]]) -> None:
    index, files = cache
    files["P/a"].unlink()
    shutil.copy(files["P/c"], files["P/b"])
    with pytest.raises(UserError) as error:
        check_samples(index, files | {"P/d": files["P/c"]})
    assert {problem.place: problem.code for problem in error.value.problems} == {
        str(files["P/a"]): "cache.missing",
        str(files["P/b"]): "cache.changed",
        f"{index}: P/d": "cache.unknown",
    }
