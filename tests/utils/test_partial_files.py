"""Temporary files: nobody shares them, those of killed processes go away, and what the system refuses is an error that names the file."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from handbone.utils.errors import UserError
from handbone.utils.io import new_folder, remove_folder, replacing, write_bytes, write_json, write_table, write_text
from handbone.utils.npz import write_npz
from handbone.utils.partial_files import HOST, partial_path, remove_dead_partials

if TYPE_CHECKING:
    from conftest import Fails

LARGE = 10**6  # bytes
TENSORS = {"weight": torch.zeros(LARGE // 4)}


def write_safetensors(path: Path) -> None:
    with replacing(path) as partial:
        save_file(TENSORS, partial)


def write_torch(path: Path) -> None:
    with replacing(path, durable=True) as partial:
        torch.save(TENSORS, partial)


WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: write_text(path, "a" * LARGE),
    "bytes": lambda path: write_bytes(path, bytes(LARGE)),
    "json": lambda path: write_json(path, "a" * LARGE),
    "table": lambda path: write_table(path, pd.DataFrame({"a": ["a" * LARGE]})),
    "npz": lambda path: write_npz(path, {"a": np.zeros(LARGE, np.uint8)}, stored=["a"]),
    "safetensors": write_safetensors,
    "torch": write_torch,
}
each_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can become larger than `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@each_writer
def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_everything_as_before(
    tmp_path: Path, fails: Fails, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with full_disk(LARGE // 2), pytest.raises(UserError) as error:
        write(path)
    assert error.value.codes <= {"io.disk_full", "io.failed"} and error.value.places == [str(path)]
    assert "free" in str(error.value) or "disk" in str(error.value)
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["before"]


@each_writer
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_files_have_the_permissions_that_the_umask_gives(tmp_path: Path, write: Callable[[Path], None], umask: int) -> None:
    """safetensors alone would write 0600, so that others of the group could not read a model."""
    before = os.umask(umask)
    try:
        write(tmp_path / "file")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask


@each_writer
@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_missing_permission_is_an_error_before_anything_is_written(
    tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], number: int
) -> None:
    def refuse(path: Path, *arguments: object) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", refuse)
    with fails("io.permission", str(tmp_path / "new/file")):
        write(tmp_path / "new/file")


@each_writer
def test_a_file_in_place_of_a_folder_and_a_folder_in_place_of_the_file_are_errors(
    tmp_path: Path, fails: Fails, write: Callable[[Path], None]
) -> None:
    (tmp_path / "file").touch()
    with fails("io.folder", str(tmp_path / "file/new/name")):
        write(tmp_path / "file/new/name")
    (tmp_path / "folder").mkdir()
    with fails("io.folder", str(tmp_path / "folder")):
        write(tmp_path / "folder")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_errors_about_other_files_reach_the_caller_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "file"):
        (tmp_path / "other").read_text()
    with pytest.raises(RuntimeError, match="no disk"), replacing(tmp_path / "file"):
        raise RuntimeError("no disk is concerned")
    assert not list(tmp_path.iterdir())


def test_temporary_files_of_dead_processes_are_removed_and_others_kept(tmp_path: Path) -> None:
    dead = dead_process()
    gone = [f".file.{dead}.partial", f".file.{dead}.{HOST}.partial", f".file.{dead}.{dead}.{HOST}.partial"]
    kept = [
        f".file.{os.getppid()}.{HOST}.partial",
        f".file.{os.getppid()}.{dead}.{HOST}.partial",
        f".file.{dead}.{dead}.another0.partial",
        f".file.{dead}.another0.partial",
        f".file2.{dead}.{HOST}.partial",
        f"file.{dead}.partial",
    ]
    for name in gone + kept:
        (tmp_path / name).touch()
    write_text(tmp_path / "file", "new")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([*kept, "file"])


def test_threads_that_write_one_file_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    """Both are inside the block at once: each has its own temporary file, and the file is that of the last one to end."""
    inside = Barrier(2, timeout=20)

    def write(letter: str) -> None:
        with replacing(tmp_path / "file") as partial:
            partial.write_text(letter * 1000)
            inside.wait()
            assert partial.read_text() == letter * 1000
            inside.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, "ab"))
    assert (tmp_path / "file").read_text() in ("a" * 1000, "b" * 1000)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_temporary_file_is_removed_if_its_number_belongs_to_a_younger_process(tmp_path: Path) -> None:
    """The numbers of processes are given again. This process is alive, but younger than the file."""
    partial = partial_path(tmp_path / "a.txt")
    partial.write_text("half")
    os.utime(partial, (1e9, 1e9))
    write_text(tmp_path / "b.txt", "whole")  # another file
    assert partial.is_file()
    remove_dead_partials(tmp_path / "a.txt")
    assert not partial.exists()


def test_a_temporary_file_of_a_zombie_is_removed(tmp_path: Path) -> None:
    """A killed process whose parent has not asked for its status yet."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
    partial = tmp_path / f".a.txt.{process.pid}.{HOST}.partial"
    partial.write_text("half")
    remove_dead_partials(tmp_path / "a.txt")
    process.wait()
    assert not partial.exists()


def test_a_temporary_file_that_cannot_be_removed_is_an_error(tmp_path: Path, fails: Fails) -> None:
    left = tmp_path / f".file.{dead_process()}.{HOST}.partial"
    left.mkdir()  # not even root removes it as a file
    with fails("io.left_behind", str(left)):
        write_text(tmp_path / "file", "new")


def test_a_link_with_the_name_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    partial_path(tmp_path / "file").symlink_to(tmp_path / "secret")
    write_text(tmp_path / "file", "new")
    assert (tmp_path / "secret").read_text() == "secret" and (tmp_path / "file").read_text() == "new"


@pytest.mark.parametrize("name", ["a" * 255, "\ud55c" * 85])
def test_a_name_as_long_as_the_system_allows_can_be_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_name_longer_than_that_is_an_error(tmp_path: Path, fails: Fails) -> None:
    with fails("io.folder", "aaa"):
        write_text(tmp_path / ("a" * 256), "new")


def test_a_folder_is_removed_with_everything_in_it(tmp_path: Path) -> None:
    write_text(tmp_path / "folder/a/b", "")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    (tmp_path / "other").mkdir()
    for name in ("folder", "link", "none"):
        remove_folder(tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["other"], "the target of a link stays"


def test_what_cannot_be_removed_is_an_error(tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "folder/a", "")

    def refuse(path: object, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "unlink", refuse)
    with fails("io.left_behind", str(tmp_path / "folder/a")):
        remove_folder(tmp_path / "folder")


def test_a_new_folder_appears_when_it_is_complete(tmp_path: Path, fails: Fails) -> None:
    left = tmp_path / f".data.{dead_process()}.{HOST}.partial/a"
    left.mkdir(parents=True)  # of a process that was killed

    def fail() -> None:
        with new_folder(tmp_path / "data") as folder:
            write_bytes(folder / "a/file", b"")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())
    with new_folder(tmp_path / "new/data") as folder:
        write_bytes(folder / "a/file", b"1")
        assert not (tmp_path / "new/data").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data"]
    assert (tmp_path / "new/data/a/file").read_bytes() == b"1"
    with fails("io.folder", "file/data"), new_folder(tmp_path / "new/data/a/file/data"):
        pass
