"""npz files: equal arrays give equal bytes, and what is not intact is an error that names the file, before it takes memory."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import pytest
from numpy.lib import format as npy

from handbone.utils.errors import UserError
from handbone.utils.npz import open_npz, write_npz

if TYPE_CHECKING:
    from conftest import Fails

ARRAYS = {"a": np.arange(12, dtype=np.int32).reshape(3, 4), "b": np.zeros(1000, np.uint8), "c": np.array([], np.float32)}


def read(path: Path) -> dict[str, np.ndarray]:
    with open_npz(path, "npz.corrupt", "write it again") as arrays:
        arrays.require(("a", "b"), ("a", "b", "c"))
        found = {"a": arrays.read("a", np.int32, (None, 4)), "b": arrays.read("b", np.uint8, (1000,))}
        return found | ({"c": arrays.read("c", np.float32, (None,))} if "c" in arrays.names else {})


def test_numpy_reads_an_npz_and_we_read_it_back(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", ARRAYS, stored=["a"])
    ours = read(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as theirs:
        assert list(theirs) == list(ARRAYS) == list(ours)
        for name, array in ARRAYS.items():
            assert theirs[name].dtype == ours[name].dtype == array.dtype
            assert np.array_equal(theirs[name], array) and np.array_equal(ours[name], array)
            assert ours[name].flags.writeable
    kinds = [member.compress_type for member in ZipFile(tmp_path / "a.npz").infolist()]
    assert kinds == [ZIP_STORED, ZIP_DEFLATED, ZIP_DEFLATED]


def test_an_array_in_column_order_is_read_back(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", {"a": np.asfortranarray(ARRAYS["a"]), "b": ARRAYS["b"]})
    assert np.array_equal(read(tmp_path / "a.npz")["a"], ARRAYS["a"])


def test_an_npz_has_the_same_bytes_in_every_python(tmp_path: Path) -> None:
    """Its bytes depend neither on the Python version nor on the date. Compressed bytes depend on zlib, so here nothing is compressed."""
    write_npz(tmp_path / "a.npz", ARRAYS, stored=list(ARRAYS))
    assert sha256((tmp_path / "a.npz").read_bytes()).hexdigest() == "a81911322349293a35536ff9071415d988c510aa95725579407f2a774a3b1a97"


@pytest.mark.parametrize("stored", [(), ("a", "b")])
def test_every_flipped_byte_is_an_error_or_changes_no_array(tmp_path: Path, stored: tuple[str, ...]) -> None:
    """Bytes that hold no array, such as a member's date, may change without harm."""
    path = tmp_path / "a.npz"
    noise = {"a": ARRAYS["a"], "b": np.random.default_rng(0).integers(0, 256, 1000, np.uint8)}
    write_npz(path, noise, stored)
    whole, harmless = path.read_bytes(), 0
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with suppress(UserError):
            found = read(path)
            harmless += 1
            assert all(np.array_equal(found[name], array) for name, array in noise.items())
    assert harmless < 40


@pytest.mark.parametrize("length", [0, 1, 30, 100, 400, -1])
def test_a_file_that_is_cut_off_is_an_error(tmp_path: Path, fails: Fails, length: int) -> None:
    write_npz(tmp_path / "a.npz", ARRAYS)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:length])
    with fails("npz.corrupt", "a.npz"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "change",
    [
        {"a": ARRAYS["a"].astype(np.int64)},
        {"a": ARRAYS["a"].astype(">i4")},
        {"a": ARRAYS["a"].astype(np.float32)},
        {"a": ARRAYS["a"].ravel()},
        {"a": ARRAYS["a"].reshape(4, 3)},
        {"b": ARRAYS["b"][1:]},
        {"d": ARRAYS["b"]},
        {"b": None},
    ],
)
def test_other_names_types_and_shapes_are_an_error(tmp_path: Path, fails: Fails, change: dict[str, Any]) -> None:
    write_npz(tmp_path / "a.npz", {name: array for name, array in (ARRAYS | change).items() if array is not None})
    with fails("npz.corrupt", "a.npz"):
        read(tmp_path / "a.npz")


def member(shape: Any, size: int, dtype: str = "'<i4'") -> bytes:
    """An array of `size` zero bytes whose header claims another shape."""
    file = BytesIO()
    npy.write_array_header_1_0(file, {"descr": "<i4", "fortran_order": False, "shape": (7, 4)})
    return file.getvalue().replace(b"(7, 4)", str(shape).encode()).replace(b"'<i4'", dtype.encode()) + bytes(size)


@pytest.mark.parametrize(
    "content",
    [
        member((7, 4), 111),
        member((7, 4), 113),
        member((10**6, 4), 112),
        member((-1, 4), 112),
        member((2**62, 4), 112),
        member("[7, 4]", 112),
        member("(" * 300 + ")" * 300, 112),
        member((7, 4), 112, "'|O'"),
        b"",
        b"no array",
    ],
)
def test_a_header_that_does_not_fit_is_an_error(tmp_path: Path, fails: Fails, content: bytes) -> None:
    write_npz(tmp_path / "b.npz", {"b": ARRAYS["b"]})
    with ZipFile(tmp_path / "b.npz", "a", ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    with fails("npz.corrupt", "b.npz"):
        read(tmp_path / "b.npz")


def test_a_huge_member_is_refused_before_it_takes_memory(tmp_path: Path, fails: Fails) -> None:
    """16 MB of zeros are 16 KB in the file; tests/test_security.py has one of 1.2 GB, for the usual limit."""
    write_npz(tmp_path / "a.npz", {"a": np.zeros((2**20, 4), np.int32)})
    tracemalloc.start()
    with fails("npz.corrupt", "a.npz"), open_npz(tmp_path / "a.npz", "npz.corrupt", "write it again") as arrays:
        arrays.read("a", np.int32, (None, 4), limit=2**24 - 1)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    with open_npz(tmp_path / "a.npz", "npz.corrupt", "write it again") as arrays:
        assert arrays.read("a", np.int32, (None, 4), limit=2**24).shape == (2**20, 4)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: None], ids=["folder", "pipe", "nothing"])
def test_what_is_no_file_is_an_error_and_never_waits(tmp_path: Path, fails: Fails, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.npz")
    with fails("stage.input_missing", "a.npz"):
        read(tmp_path / "a.npz")
