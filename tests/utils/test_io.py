"""Files are complete or do not exist; names stay as they are; equal arrays give equal bytes."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import Fails
from handbone.utils.errors import UserError
from handbone.utils.io import read_json, read_table, replacing, write_bytes, write_json, write_table, write_text
from handbone.utils.npz import write_npz

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


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "device"])
def test_nothing_but_a_file_is_replaced(
    tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch, kind: str, write: Callable[[Path], None]
) -> None:
    """Root may rename a file to /dev/null, and then no program of the machine works."""
    path = tmp_path / "new/target"
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/dev/null")
    else:
        monkeypatch.setattr("handbone.utils.io.DEVICES", path.parent)
    before = path.lstat() if kind != "device" else None
    with fails("io.folder" if kind == "folder" else "io.target", str(path)):
        write(path)
    assert list(path.parent.iterdir()) == ([] if before is None else [path])
    assert before is None or path.lstat() == before


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("name", [b"\xff", "한글 이름".encode(), "골".encode() * 80], ids=["no text", "Korean", "long"])
def test_a_file_may_have_any_name_that_the_system_takes(tmp_path: Path, name: bytes, write: Callable[[Path], None]) -> None:
    write(tmp_path / os.fsdecode(name))
    assert os.listdir(os.fsencode(tmp_path)) == [name]


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


NUMBERS = "key,fold,dice\nP/a,0,0.5\nP/b,1,\n"


def test_a_table_is_read_with_or_without_a_byte_order_mark_windows_lines_and_quotes(tmp_path: Path) -> None:
    for text in (NUMBERS, "\ufeff" + NUMBERS, NUMBERS.replace("\n", "\r\n"), NUMBERS.replace("P/a", '"P/a"'), NUMBERS + "\n"):
        (tmp_path / "table.csv").write_bytes(text.encode())
        table = read_table(tmp_path / "table.csv", ["key", "fold"])
        assert list(table) == ["key", "fold", "dice"]
        assert (
            table["key"].tolist() == ["P/a", "P/b"] and table["fold"].tolist() == [0, 1] and table["dice"].isna().tolist() == [False, True]
        )


def test_a_table_without_rows_is_no_error(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", pd.DataFrame(columns=["key", "weight"]))
    assert list(read_table(tmp_path / "table.csv", ["key"])) == ["key", "weight"]


@pytest.mark.parametrize(
    ("old", "new", "code", "place"),
    [
        ("0,0.5", "nan,0.5", "csv.number", "line 2, column fold"),
        ("0,0.5", "inf,0.5", "csv.number", "line 2, column fold"),
        ("0,0.5", "1e999,0.5", "csv.number", "line 2, column fold"),
        ("0,0.5", ",0.5", "csv.number", "line 2, column fold"),
        ("0,0.5", "one,0.5", "csv.number", "line 2, column fold"),
        ("0,0.5", "1_0,0.5", "csv.number", "line 2, column fold"),
        ("0,0.5", f"0,{'1' * 5000}", "csv.number", "line 2, column dice"),
        ("P/b", "P/a", "csv.repeated", "line 3"),
        ("P/b", "../b", "csv.key", "line 3"),
        ("P/b", "/etc/b", "csv.key", "line 3"),
        ("P/b", "", "csv.key", "line 3"),
        ("1,\n", "1\n", "csv.fields", "line 3"),
        ("1,\n", "1,,\n", "csv.fields", "line 3"),
        ("1,\n", "1,", "csv.cut_off", "table.csv"),
        ("dice", "fold", "csv.header", "line 1"),
        ("fold", "flod", "csv.columns", "line 1"),
        ("P/b", '"P/b', "csv.quotes", "line 3"),
        (NUMBERS, "", "csv.empty", "table.csv"),
        (NUMBERS, "\n\n", "csv.empty", "table.csv"),
    ],
)
def test_what_pandas_would_repair_or_ignore_is_an_error(tmp_path: Path, fails: Fails, old: str, new: str, code: str, place: str) -> None:
    assert old in NUMBERS
    (tmp_path / "table.csv").write_text(NUMBERS.replace(old, new))
    with fails(code, place) as error:
        read_table(tmp_path / "table.csv", ["key", "fold"])
    assert len(str(error.value)) < 600


def test_text_in_another_encoding_names_its_line(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "table.csv").write_bytes(NUMBERS.replace("P/b", "\u00c4").encode("latin-1"))
    with fails("csv.encoding", "line 3"):
        read_table(tmp_path / "table.csv")


def test_all_faults_of_a_table_are_listed_and_equal_ones_grouped(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("key,class,pixels\n" + "P/a,x,\n" * 500)
    with pytest.raises(UserError) as error:
        read_table(tmp_path / "table.csv")
    assert error.value.codes == {"csv.number", "csv.repeated"}
    assert len(error.value.places) == 999 and len(str(error.value).splitlines()) < 40


def test_tables_of_classes_may_name_a_key_for_each(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("key,class,pixels\nP/a,x,1\nP/a,y,2\nP/b,x,3\n")
    assert read_table(tmp_path / "table.csv")["pixels"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("text", ["", "{", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 1e999}', "[" * 100_000, '{"a": ' + "1" * 5000 + "}"])
def test_a_file_that_is_no_json_is_an_error(tmp_path: Path, fails: Fails, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with fails("json.syntax", "a.json") as error:
        read_json(tmp_path / "a.json")
    assert len(str(error.value)) < 600


def test_json_in_another_encoding_is_an_error_and_a_byte_order_mark_none(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff"}')
    with fails("json.syntax", "a.json"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes("\ufeff[1]".encode())
    assert read_json(tmp_path / "a.json") == [1]


@pytest.mark.parametrize("read", [read_table, read_json])
def test_a_file_of_terabytes_is_an_error_before_it_takes_memory(tmp_path: Path, fails: Fails, read: Callable[[Path], object]) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    tracemalloc.start()
    with fails("io.too_large", "file"):
        read(tmp_path / "file")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("read", [read_table, read_json])
def test_a_pipe_is_an_error_and_never_waits(tmp_path: Path, fails: Fails, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "file")
    with fails("stage.input_missing", "file"):
        read(tmp_path / "file")


@pytest.mark.parametrize("read", [read_table, read_json])
def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path, fails: Fails, read: Callable[[Path], object]) -> None:
    with fails("stage.input_missing", str(tmp_path / "file")):
        read(tmp_path / "file")
