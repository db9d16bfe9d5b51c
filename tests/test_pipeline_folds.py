"""`handbone folds` with the real DVC, on a graph of the real one's shape whose stages are shell commands."""

import asyncio
import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from handbone.cli import folds
from imports import ROOT
from project import Project, ran

GRAPH = """
stages:
  split:
    cmd: mkdir -p data && echo dealt > data/folds.csv
    params: [split]
    outs: [data/folds.csv]
  train:
    matrix: {fold: "${folds}"}
    cmd: bash train.sh ${item.fold}
    deps: [data/folds.csv, train.sh]
    params: [train]
    outs: ["models/fold_${item.fold}"]
    plots: ["reports/train/fold_${item.fold}.csv": {cache: false, x: epoch, y: dice}]
  validate:
    cmd: cat models/*/weights > reports/validation_counts.csv
    deps: [models]
    params: [folds]
    outs: [reports/validation_counts.csv]
"""
TRAIN = """
trap 'sleep 1; touch .dvc/tmp/saved_$1; exit 143' TERM  # saving takes a while
touch .dvc/tmp/begun_$1
for try in $(seq 400); do [ -e .dvc/tmp/alone ] || [ -e .dvc/tmp/begun_$((1 - $1)) ] && break; sleep 0.05; done
[ $try -lt 400 ] || { echo nobody trains beside me; exit 1; }
while [ -e .dvc/tmp/hold ]; do sleep 0.05; done
[ ! -e .dvc/tmp/fail_$1 ] || { echo out of memory; exit 3; }
mkdir -p models/fold_$1 reports/train
echo "fold $1 $OMP_NUM_THREADS" | tee models/fold_$1/weights > reports/train/fold_$1.csv
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for name in ["params.yaml", ".gitignore", ".dvc/config", ".dvc/.gitignore"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".dvc/tmp").mkdir()
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    (tmp_path / "train.sh").write_text(TRAIN)
    project = Project(tmp_path)
    project.change({"folds": [0, 1]})
    project.git("init", "-q")
    project.commit("start")
    return project


def note(project: Project, name: str) -> Path:
    return project.folder / ".dvc/tmp" / name


def test_the_folds_train_side_by_side_and_leave_the_graph_up_to_date(project: Project) -> None:
    output = project.sh("handbone folds --jobs 2")
    assert "fold 0: Running stage 'train@0':" in output
    assert "fold 1: Running stage 'train@1':" in output
    assert ran(output) == {"split", "validate"}  # the folds' own lines have a prefix
    assert (project.folder / "reports/validation_counts.csv").read_text() == "fold 0 1\nfold 1 1\n"
    assert "up to date" in project.sh("dvc status")
    assert not ran(project.sh("dvc repro"))


def test_a_fold_that_fails_stops_no_other_and_the_next_run_mends_it(project: Project) -> None:
    note(project, "fail_1").touch()
    output = project.sh("handbone folds --jobs 2", code=1)
    assert "1 of 2 folds failed" in output
    last = output[output.rindex("fold 1, exit code 255:") :]
    assert "  out of memory\n" in last
    assert ran(output) == {"split"}  # not validate, for which a fold is missing
    note(project, "fail_1").unlink()
    output = project.sh("handbone folds --jobs 2")
    assert "Stage 'train@0' didn't change" in output
    assert "fold 1: Running stage 'train@1':" in output
    assert "up to date" in project.sh("dvc status")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_trainings_are_told_to_end_and_waited_for(project: Project, number: signal.Signals) -> None:
    note(project, "hold").touch()
    process = subprocess.Popen(
        ["bash", "-c", "exec handbone folds --jobs 2"],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # of a test run in the background a shell lets SIGINT be ignored
    )
    deadline = time.monotonic() + 120
    while not all(note(project, f"begun_{fold}").exists() for fold in (0, 1)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Interrupted" in output and b"the same command resumes" in output and b"Traceback" not in output
    assert all(note(project, f"saved_{fold}").exists() for fold in (0, 1))
    note(project, "hold").unlink()
    assert ran(project.sh("dvc repro")) == {"train@0", "train@1", "validate"}  # no lock is left in its way


def test_a_lock_of_another_process_is_waited_for(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC's own words, as it says them when another process writes a fold's model."""
    note(project, "alone").touch()
    project.sh("dvc repro split")
    other = subprocess.Popen(["sleep", "100"])
    lock = {"write": {str(project.folder / "models/fold_0"): {"pid": other.pid, "cmd": "sleep"}}, "read": {}}
    note(project, "rwlock").write_text(json.dumps(lock))
    waits = []

    async def end_it(seconds: float) -> None:
        waits.append(seconds)
        other.kill()
        other.wait()

    monkeypatch.setattr(folds.asyncio, "sleep", end_it)
    monkeypatch.chdir(project.folder)
    outcome = asyncio.run(folds.train(0, folds.Slot((), 1)))
    assert outcome.code == 0
    assert waits == [folds.PAUSE]
    assert (project.folder / "models/fold_0/weights").exists()


def test_what_is_upstream_is_read_from_the_graph(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    assert folds.upstream("train@1") == ["split"]
    assert folds.upstream("split") == []
