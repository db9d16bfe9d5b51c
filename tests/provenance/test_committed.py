"""The run that git has: its scores and parameters, or why there is none."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from handbone.provenance.committed import committed_run, compared_with_committed
from handbone.report.changes import CommittedRun
from project import Project

METRICS, PARAMS = Path("reports/metrics.json"), Path("params.yaml")


def git(folder: Path, *arguments: str) -> str:
    name = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(["git", "-C", str(folder), *name, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A commit with a run, and one after it that changes neither."""
    git(tmp_path, "init", "-q")
    (tmp_path / "reports").mkdir()
    (tmp_path / METRICS).write_text(json.dumps({"dice": {"mean": 0.9}}))
    (tmp_path / PARAMS).write_text("train: {lr: 1e-3}\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "a run")
    git(tmp_path, "commit", "-qm", "nothing", "--allow-empty")
    return tmp_path


def test_the_run_is_that_of_the_commit_and_not_of_the_files(repository: Path) -> None:
    (repository / METRICS).write_text("{}")
    (repository / PARAMS).unlink()
    found = committed_run(repository, METRICS, PARAMS)
    assert isinstance(found, CommittedRun)
    assert (found.metrics, found.params) == ({"dice": {"mean": 0.9}}, {"train": {"lr": 0.001}})
    assert git(repository, "rev-parse", "HEAD~1").startswith(found.commit)
    assert found.date == git(repository, "log", "-1", "--format=%cs")


def test_parameters_that_were_committed_before_their_run_are_not_those_of_the_run(repository: Path) -> None:
    (repository / PARAMS).write_text("train: {lr: 1e-2}\n")
    git(repository, "commit", "-qam", "parameters of a run that comes")
    found = committed_run(repository, METRICS, PARAMS)
    assert isinstance(found, CommittedRun) and found.params == {"train": {"lr": 0.001}}


def test_without_a_repository_there_is_a_reason(tmp_path: Path) -> None:
    assert "git" in str(committed_run(tmp_path, METRICS, PARAMS))


def test_a_repository_without_a_commit_has_no_run(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert isinstance(committed_run(tmp_path, METRICS, PARAMS), str)


@pytest.mark.parametrize("text", ["", "[1]", "{", "{a: b", "\x00"])
def test_a_file_that_cannot_be_read_is_no_run(repository: Path, text: str) -> None:
    (repository / METRICS).write_text(text)
    git(repository, "commit", "-qam", "broken")
    assert isinstance(committed_run(repository, METRICS, PARAMS), str)


COUNTS, FOLDS = Path("reports/validation_counts.csv"), Path("data/folds.csv")


def test_the_tables_are_compared_with_those_of_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        str(COUNTS): "key,class,tp,fp,fn\nA/1,Ulna,50,0,50\nB/1,Ulna,60,0,40\n",
        str(FOLDS): "key,person\nA/1,A\nB/1,B\n",
    }
    project = Project.with_members(tmp_path, files)
    project.sh(f"dvc add -q {COUNTS} {FOLDS}")
    project.commit("a run")
    monkeypatch.chdir(project.folder)
    COUNTS.unlink()
    COUNTS.write_text("key,class,tp,fp,fn\nA/1,Ulna,75,0,25\nB/1,Ulna,60,0,40\n")
    found = compared_with_committed(COUNTS, FOLDS)
    assert found is not None and found.differences[:, 0] == pytest.approx([150 / 175 - 100 / 150, 0], abs=1e-5)
    FOLDS.unlink()
    FOLDS.write_text("key,person\nA/1,Z\nB/1,B\n")
    assert compared_with_committed(COUNTS, FOLDS) is None, "another person"
    project.sh("rm -r .dvc/cache/files")
    assert compared_with_committed(COUNTS, FOLDS) is None, "nothing in the cache"
