"""Checkpoints under a content key."""

from pathlib import Path

import pytest
import torch

from handbone.training.checkpoint import Checkpoint, content_key, resume_folder
from handbone.utils.errors import UserError


def test_the_key_changes_with_every_setting_and_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    base = content_key({"lr": 0.3, "fold": 0}, [tmp_path / "a"])
    assert base == content_key({"fold": 0, "lr": 0.3}, [tmp_path / "a"])
    assert base != content_key({"fold": 0, "lr": 0.4}, [tmp_path / "a"])
    (tmp_path / "a").write_text("2")
    assert base != content_key({"lr": 0.3, "fold": 0}, [tmp_path / "a"])


def test_it_lies_in_the_repository_that_dvc_was_started_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


def test_half_a_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"a": torch.arange(1000)})
    whole = (tmp_path / "last.pt").read_bytes()
    for torn in (b"", whole[: len(whole) // 2], whole[:2]):
        (tmp_path / "last.pt").write_bytes(torn)
        with pytest.raises(UserError, match=r"last\.pt: expected a checkpoint.*remove it"):
            checkpoint.load()


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    torch.save({"a": Path("x")}, tmp_path / "last.pt")
    with pytest.raises(UserError, match=r"[Ww]eights"):
        Checkpoint(tmp_path).load()
