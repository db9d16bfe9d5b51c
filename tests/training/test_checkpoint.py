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


def test_a_damaged_checkpoint_is_never_resumed_from(tmp_path: Path, fails: Fails) -> None:
    checkpoint, file = Checkpoint(tmp_path), tmp_path / "last.pt"
    checkpoint.save({"a": torch.arange(1000)})
    whole = file.read_bytes()
    for torn in (b"", whole[: len(whole) // 2], whole[:2], whole[:-1], whole + b"x"):
        file.write_bytes(torn)
        with fails("checkpoint.corrupt", "last.pt"):
            checkpoint.load()
    for place in range(0, len(whole), 97):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with fails("checkpoint.corrupt", "last.pt"):
            checkpoint.load()
    file.write_bytes(whole)
    loaded = checkpoint.load()
    assert loaded is not None and loaded["a"].tolist() == list(range(1000))


def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path, fails: Fails) -> None:
    """Copied into the folder of this one, or written by another program."""
    Checkpoint(tmp_path / "one").save({"a": torch.arange(3)})
    (tmp_path / "two").mkdir()
    (tmp_path / "one/last.pt").rename(tmp_path / "two/last.pt")
    with fails("checkpoint.corrupt", "last.pt"):
        Checkpoint(tmp_path / "two").load()
    torch.save({"a": torch.arange(3)}, tmp_path / "two/last.pt")
    with fails("checkpoint.corrupt", "last.pt"):
        Checkpoint(tmp_path / "two").load()


def test_nothing_is_unpickled(tmp_path: Path, fails: Fails) -> None:
    Checkpoint(tmp_path).save({"a": Path("x")})
    with fails("checkpoint.unreadable", "last.pt"):
        Checkpoint(tmp_path).load()


def test_removal_leaves_what_others_have_in_the_folder(tmp_path: Path) -> None:
    """Such as the temporary file of a second training that is just saving."""
    checkpoint = Checkpoint(tmp_path / "k")
    checkpoint.save({})
    (tmp_path / "k/other").touch()
    checkpoint.remove()
    assert [path.name for path in (tmp_path / "k").iterdir()] == ["other"]
    checkpoint.remove()


def test_a_checkpoint_that_cannot_be_removed_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The result of the training is complete."""
    (tmp_path / "last.pt").mkdir()
    Checkpoint(tmp_path).remove()
    assert capsys.readouterr().err.startswith(f"WARNING: {tmp_path}/last.pt")
