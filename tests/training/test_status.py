"""The status of a training, as another process reads it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from conftest import Fails
from handbone.training.checkpoint import Checkpoint
from handbone.training.status import FoldStatus, StatusFile, experiments, status_file, status_folder
from small_training import SmallTraining, make_files, scored
from training_params import PARAMS


def test_the_file_follows_a_training_to_its_end(tmp_path: Path) -> None:
    small = SmallTraining(make_files(tmp_path), PARAMS)
    file = tmp_path / "fold_0.json"
    status = StatusFile(file, 0, "settings", clock=iter(range(0, 10**6, 10)).__next__)  # so that each batch is written
    seen: list[tuple[int, int]] = []

    def evaluate(model: object) -> object:
        found = FoldStatus.load(file).checked()
        seen.append((found.epoch, found.batch))
        assert found.state == "running" and found.process == os.getpid()
        return scored(0.5)(model)  # type: ignore[arg-type]

    with status.end_noted():
        small.trainer.fit(evaluate, Checkpoint(tmp_path / "resume"), "test", [status])  # type: ignore[arg-type]
    assert seen == [(1, 3), (3, 3), (4, 3)]
    end = FoldStatus.load(file)
    assert (end.state, end.epoch, end.epochs, end.dice, end.best_dice, end.best_epoch) == ("done", 5, 5, 0.5, 0.5, 2)
    assert end.loss is not None and end.images_per_second and end.memory and end.ends is None


@pytest.mark.parametrize(
    ("error", "state"), [(KeyboardInterrupt(), "interrupted"), (SystemExit(143), "interrupted"), (ValueError("no"), "failed")]
)
def test_the_file_says_how_a_training_ended(tmp_path: Path, error: BaseException, state: str) -> None:
    status = StatusFile(tmp_path / "fold_0.json", 0, "settings")
    with pytest.raises(type(error)), status.end_noted():
        raise error
    found = FoldStatus.load(tmp_path / "fold_0.json")
    assert found.state == state and found.message


def test_a_training_whose_process_is_gone_is_interrupted() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = FoldStatus.of_this_process(0, "settings")
    assert here.checked() == here
    assert replace(here, process=ended.pid).checked().state == "interrupted"
    assert replace(here, process_start=here.process_start - 100).checked().state == "interrupted"  # the number is another process's now
    assert replace(here, process=ended.pid, host="elsewhere").checked().state == "running"


def test_a_killed_training_whose_parent_has_not_noticed_is_interrupted() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    start = psutil.Process(process.pid).create_time()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays in the system's table
    status = replace(FoldStatus.of_this_process(0, "settings"), process=process.pid, process_start=start)
    assert status.checked().state == "interrupted"
    process.wait()


def test_a_disk_that_refuses_the_file_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "status").touch()
    status = StatusFile(tmp_path / "status" / "fold_0.json", 0, "settings")
    with status.end_noted():
        pass
    assert capsys.readouterr().err.count("WARNING") == 1


def test_a_foreign_file_is_an_error(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "fold_0.json").write_text(json.dumps({"fold": 0}))
    with fails("status.file", "fold_0.json"):
        FoldStatus.load(tmp_path / "fold_0.json")


def test_an_experiment_in_a_copy_of_the_repository_writes_to_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("DVC_EXP_NAME", "lr-3")
    StatusFile(status_file(status_folder(), 1), 1, "settings")
    monkeypatch.chdir(tmp_path)
    assert status_folder().resolve() == tmp_path / ".dvc/tmp/status"
    assert [(name, [one.fold for one in found]) for name, found in experiments(status_folder()).items()] == [("lr-3", [1])]
    with StatusFile(status_file(status_folder(), 1), 1, "settings").end_noted():
        pass
    assert experiments(status_folder())["lr-3"][0].state == "running"  # its own fold 1 is another file
