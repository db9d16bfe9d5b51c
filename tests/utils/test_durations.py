"""The time of a stage is noted if it ends well, and never stands in the way."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from handbone.utils.durations import FOLDER, read_durations, timed


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_stage_has_the_seconds_of_its_last_run() -> None:
    for seconds in (0.0, 0.05):
        timed(lambda seconds=seconds: time.sleep(seconds), "/somewhere/stages/train.py", ["0"])()  # type: ignore[misc]
    timed(lambda: None, "validate.py", [])()
    found = read_durations()
    assert set(found) == {"train@0", "validate"} and 0.05 <= found["train@0"] < 5


def test_a_failure_is_not_noted() -> None:
    with pytest.raises(ZeroDivisionError):
        timed(lambda: 1 / 0, "train.py", [])()  # type: ignore[arg-type, return-value]
    assert read_durations() == {}


def test_a_folder_that_cannot_be_written_changes_nothing() -> None:
    FOLDER.parent.mkdir(parents=True)
    FOLDER.write_text("a file")
    timed(lambda: None, "train.py", [])()
    assert read_durations() == {}


def test_what_is_no_time_is_left_out() -> None:
    FOLDER.mkdir(parents=True)
    for name, text in {"a": "1.5", "b": "x", "c": "nan", "d": "-1", "e": "inf"}.items():
        (FOLDER / name).write_text(text)
    (FOLDER / "folder").mkdir()
    assert read_durations() == {"a": 1.5}
