"""The lock of a checkpoint."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Fails
from handbone.training import checkpoint_lock as module
from handbone.training.checkpoint_lock import LOCK, checkpoint_lock


def test_a_lock_leaves_nothing_behind_and_keeps_a_checkpoint(tmp_path: Path) -> None:
    with checkpoint_lock(tmp_path / "key"):
        assert (tmp_path / "key" / LOCK).read_text().startswith(f"process {os.getpid()} on ")
    assert not (tmp_path / "key").exists()
    with checkpoint_lock(tmp_path / "key"):
        (tmp_path / "key/last.pt").touch()
    assert os.listdir(tmp_path / "key") == ["last.pt"]


def test_a_lock_that_is_held_is_an_error_that_names_the_process(tmp_path: Path, fails: Fails) -> None:
    with checkpoint_lock(tmp_path), fails("checkpoint.in_use", str(tmp_path)) as error, checkpoint_lock(tmp_path, wait=0):
        pass
    assert f"process {os.getpid()} on" in error.value.problems[0].found


def test_the_lock_of_a_dead_process_is_free_and_of_a_living_one_is_waited_for(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from handbone.training.checkpoint_lock import checkpoint_lock\n"
        "with checkpoint_lock(Path(sys.argv[1])): print('locked', flush=True); time.sleep(0.7); os._exit(1)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "locked\n"
    with checkpoint_lock(tmp_path, wait=30):
        assert other.wait(5) == 1


def test_a_folder_that_another_training_removes_is_created_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of a file that has no name any more protects nothing."""
    opened, folder = module._open, tmp_path / "key"

    def open_and_lose(place: Path) -> object:
        monkeypatch.setattr(module, "_open", opened)
        file = opened(place)
        (place / LOCK).unlink()
        place.rmdir()
        return file

    monkeypatch.setattr(module, "_open", open_and_lose)
    with checkpoint_lock(folder):
        assert (folder / LOCK).exists()


def test_a_disk_without_locks_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with checkpoint_lock(tmp_path):
        pass
    assert capsys.readouterr().err.startswith("WARNING: ")


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "file").touch()
    with fails("io.folder", "file"), checkpoint_lock(tmp_path / "file" / "key"):
        pass
