"""`handbone status`: what it shows of each fold."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import ChangeParams, Fails
from handbone.cli.status import print_status
from handbone.config import paths
from handbone.config.params import load_params
from handbone.training.settings import settings_hash
from handbone.training.status import FoldStatus, State, status_file, status_folder
from handbone.utils.io import write_json


@pytest.fixture(autouse=True)
def project(change_params: ChangeParams, monkeypatch: pytest.MonkeyPatch) -> ChangeParams:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return change_params


def leave(fold: int, state: State, folder: Path | None = None, **changes: Any) -> None:
    """What a training leaves that is of this process, and has the parameters of params.yaml."""
    status = FoldStatus.of_this_process(fold, settings_hash(load_params()))
    position = {"epoch": 12, "epochs": 36, "batch": 2, "batches": 5, "loss": 0.25, "dice": 0.875, "best_dice": 0.9, "best_epoch": 10}
    full = replace(status, state=state, device="GPU X", images_per_second=52.26, memory=3 * 2**29, **position)
    file = status_file(folder or status_folder(), fold)
    write_json(file, vars(replace(full, **changes)))


def shown(capsys: pytest.CaptureFixture[str]) -> dict[int, Any]:
    print_status(as_json=True)
    return {row["fold"]: row for row in json.loads(capsys.readouterr().out)["folds"]}


def test_where_nothing_ran_all_folds_wait(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(as_json=False)
    printed = capsys.readouterr().out
    assert "dvc repro" in printed and printed.count("waiting") == 2
    assert [row["state"] for row in shown(capsys).values()] == ["waiting", "waiting"]


def test_a_running_and_a_failed_training(capsys: pytest.CaptureFixture[str]) -> None:
    leave(0, "running", ends="2026-11-26T16:40:00+00:00")
    leave(1, "failed", message="the disk is full")
    print_status(as_json=False)
    head, first, second, remark = capsys.readouterr().out.splitlines()
    assert first.split() == [
        "0",
        "running",
        "12.4/36",
        "0.2500",
        "0.8750",
        "0.9000",
        "(10)",
        "52.3",
        "Thu",
        "16:40",
        "1.5",
        "GiB",
        "GPU",
        "X",
    ]
    assert [first[head.index(name) :].split()[0] for name in ("Dice", "memory", "device")] == ["0.8750", "1.5", "GPU"]
    assert second.split()[:2] == ["1", "failed"] and remark.endswith("the disk is full")
    found = shown(capsys)
    assert (found[0]["process"], found[0]["memory"], found[1]["message"]) == (os.getpid(), 3 * 2**29, "the disk is full")


def test_a_killed_training_is_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    leave(0, "running", process=ended.pid)
    assert shown(capsys)[0]["state"] == "interrupted"


def test_a_training_with_other_parameters_waits_unless_it_runs(project: ChangeParams, capsys: pytest.CaptureFixture[str]) -> None:
    leave(0, "done")
    leave(1, "running")
    write_json(paths.fold_model(0) / "model.json", {})
    assert {fold: row["state"] for fold, row in shown(capsys).items()} == {0: "done", 1: "running"}
    project({"decide.threshold": 0.4})
    assert shown(capsys)[0]["state"] == "done"
    project({"train.lr": 0.5})
    found = shown(capsys)
    assert {fold: row["state"] for fold, row in found.items()} == {0: "waiting", 1: "running"}
    assert "other parameters" in found[1]["message"]


def test_a_training_whose_model_dvc_has_removed_waits(capsys: pytest.CaptureFixture[str]) -> None:
    leave(0, "done")
    assert shown(capsys)[0]["state"] == "waiting"


def test_a_model_of_another_machine_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    write_json(paths.fold_model(1) / "model.json", {"epoch": 30, "dice": 0.91, "machine": {"device": "H100"}})
    found = shown(capsys)[1]
    assert (found["state"], found["best_epoch"], found["best_dice"], found["device"]) == ("done", 30, 0.91, "H100")
    print_status(as_json=False)
    assert "0.9100 (30)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "code"),
    [(status_file(status_folder(), 1), "status.file"), (paths.fold_model(1) / "model.json", "status.model")],
)
@pytest.mark.parametrize("content", [[], {"epoch": "30", "dice": 0.5}, {"fold": 1}])
def test_a_file_with_other_content_is_an_error_that_names_it(file: Path, code: str, content: object, fails: Fails) -> None:
    write_json(file, content)
    with fails(code, file.name):
        print_status(as_json=False)


def test_experiments_in_copies_of_the_repository_are_shown_while_they_run(capsys: pytest.CaptureFixture[str]) -> None:
    leave(0, "running", status_folder() / "experiments" / "lr-3")
    leave(0, "done", status_folder() / "experiments" / "lr-1")
    leave(1, "running", status_folder() / "experiments" / "far", host="node7", written="2026-11-26T16:00:00+00:00")
    print_status(as_json=False)
    printed = capsys.readouterr().out
    assert "experiment lr-3" in printed and "lr-1" not in printed
    assert "on node7" in printed and platform.node() not in printed
