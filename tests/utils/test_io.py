"""Files are complete or do not exist; names stay as they are; equal arrays give equal bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import pandas as pd
import pytest

from conftest import Fails
from handbone.utils.io import read_json, read_table, replacing, write_bytes, write_json, write_npz, write_table, write_text

ARRAYS = {"a": np.arange(12, dtype=np.int32).reshape(3, 4), "b": np.zeros(1000, np.uint8), "c": np.array([], np.float32)}
WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: write_text(path, "a\r\nb\n"),
    "bytes": lambda path: write_bytes(path, b"\x00\r\n"),
    "json": lambda path: write_json(path, {"a": [1, None]}),
    "table": lambda path: write_table(path, pd.DataFrame({"a": [1]})),
    "npz": lambda path: write_npz(path, ARRAYS),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_link_is_replaced_and_its_target_stays(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """The files of a checkout may be links into DVC's cache."""
    target, path = tmp_path / "cache", tmp_path / "new/file"
    target.write_text("cached")
    path.parent.mkdir()
    path.symlink_to(target)
    write(path)
    assert target.read_text() == "cached"
    assert not path.is_symlink()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_folders_are_created_and_equal_content_gives_equal_bytes(tmp_path: Path, write: Callable[[Path], None]) -> None:
    files = [tmp_path / "new/1/file", tmp_path / "new/2/file"]
    for file in files:
        write(file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_text_and_bytes_are_written_unchanged(tmp_path: Path) -> None:
    WRITERS["text"](tmp_path / "a")
    WRITERS["bytes"](tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == b"a\r\nb\n"
    assert (tmp_path / "b").read_bytes() == b"\x00\r\n"


@pytest.mark.parametrize("durable", [False, True])
def test_the_file_appears_when_it_is_complete(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path, durable) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def write_half(path: Path) -> None:
    with replacing(path) as partial:
        partial.write_text("new")
        raise ZeroDivisionError


@pytest.mark.parametrize("existing", [False, True])
def test_after_an_exception_everything_is_as_before(tmp_path: Path, existing: bool) -> None:
    path = tmp_path / "file"
    if existing:
        path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_half(path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"] * existing


def test_a_durable_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power failure can leave an empty file under the name."""
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append((tmp_path / "file").exists()))
    with replacing(tmp_path / "file", durable=True) as partial:
        partial.write_text("new")
    assert synced == [False]


def test_json_is_read_back_and_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"dice": 0.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"dice": float("nan")})
    assert read_json(path) == {"dice": 0.5}


def test_names_that_look_like_numbers_or_missing_values_stay_text(tmp_path: Path) -> None:
    table = pd.DataFrame({"key": ["007/001", "NA"], "person_sex": ["01", ""], "dice": [0.5, None], "pixels": [1, 2]})
    write_table(tmp_path / "table.csv", table)
    found = read_table(tmp_path / "table.csv")
    assert found["key"].tolist() == ["007/001", "NA"]
    assert found["person_sex"].tolist() == ["01", ""]
    assert found["dice"].isna().tolist() == [False, True]
    assert found["pixels"].tolist() == [1, 2]


@pytest.mark.parametrize("read", [read_table, read_json])
def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path, fails: Fails, read: Callable[[Path], object]) -> None:
    with fails("stage.input_missing", str(tmp_path / "file")):
        read(tmp_path / "file")


def test_numpy_reads_an_npz(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", ARRAYS, stored=["a"])
    with np.load(tmp_path / "a.npz", allow_pickle=False) as read:
        assert list(read) == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert read[name].dtype == array.dtype and np.array_equal(read[name], array)
    kinds = [member.compress_type for member in ZipFile(tmp_path / "a.npz").infolist()]
    assert kinds == [ZIP_STORED, ZIP_DEFLATED, ZIP_DEFLATED]


def test_an_npz_has_the_same_bytes_in_every_python(tmp_path: Path) -> None:
    """Its bytes depend neither on the Python version nor on the date. Compressed bytes depend on zlib, so here nothing is compressed."""
    write_npz(tmp_path / "a.npz", ARRAYS, stored=list(ARRAYS))
    assert sha256((tmp_path / "a.npz").read_bytes()).hexdigest() == "a81911322349293a35536ff9071415d988c510aa95725579407f2a774a3b1a97"
