"""Checkpoints, and the fingerprint that names their folder."""

from pathlib import Path

import pytest
import torch

from conftest import Fails
from handbone.training.checkpoint import Checkpoint, resume_folder, run_fingerprint


def test_the_fingerprint_changes_with_every_setting_and_file(tmp_path: Path) -> None:
    files = {"index": tmp_path / "a"}
    files["index"].write_text("1")
    base = run_fingerprint({"lr": 0.3, "fold": 0}, files)
    assert base == run_fingerprint({"fold": 0, "lr": 0.3}, files)
    assert base != run_fingerprint({"lr": 0.4, "fold": 0}, files)
    assert base != run_fingerprint({"lr": 0.3, "fold": 0}, files | {"folds": tmp_path / "a"})
    files["index"].write_text("2")
    assert base != run_fingerprint({"lr": 0.3, "fold": 0}, files)


def test_the_fingerprint_does_not_depend_on_where_files_are(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).write_text("1")
    assert run_fingerprint({}, {"index": tmp_path / "here"}) == run_fingerprint({}, {"index": tmp_path / "there"})


def test_checkpoints_are_kept_in_the_repository_in_which_dvc_was_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert resume_folder(None, "k") == tmp_path / ".dvc/tmp/resume/k"
    assert resume_folder("/ssd", "k") == Path("/ssd/k")


def test_round_trip_and_removal(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "k")
    assert checkpoint.load() is None
    checkpoint.save({"a": torch.arange(3), "rows": [{"dice": None}]})
    checkpoint.save({"a": torch.arange(4), "rows": [{"dice": 0.5}]})
    loaded = checkpoint.load()
    assert loaded is not None
    assert loaded["a"].tolist() == [0, 1, 2, 3]
    assert loaded["rows"] == [{"dice": 0.5}]
    assert [path.name for path in (tmp_path / "k").iterdir()] == ["last.pt"]
    checkpoint.remove()
    assert not (tmp_path / "k").exists()


def test_a_truncated_checkpoint_is_reported(tmp_path: Path, fails: Fails) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"a": torch.arange(1000)})
    whole = (tmp_path / "last.pt").read_bytes()
    for torn in (b"", whole[: len(whole) // 2], whole[:2]):
        (tmp_path / "last.pt").write_bytes(torn)
        with fails("checkpoint.unreadable", "last.pt"):
            checkpoint.load()


def test_nothing_is_unpickled(tmp_path: Path, fails: Fails) -> None:
    torch.save({"a": Path("x")}, tmp_path / "last.pt")
    with fails("checkpoint.unreadable", "last.pt"):
        Checkpoint(tmp_path).load()
