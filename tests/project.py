"""A copy of this repository, shrunk to a few small phantoms, in which the real graph is run by the real DVC."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from forked import run_line
from imports import ROOT

SMALL = {
    "phantom": {"size": 96, "train_people": 4, "test_people": 2},
    "split": {"n_folds": 2},
    "folds": [0, 1],
    "model": {"encoder": "resnet18", "options": {"Unet": {"decoder_channels": [16, 8, 8, 8, 8]}}},
    "train": {"size": 64, "epochs": 2, "batch_size": 3, "validate_every": 1},
    "machine": {"preprocess_workers": 2},
}

TRAIN = {"train@0", "train@1"}
DECIDE = {"validate", "submit", "report"}  # no network runs in these
INFER = {"infer@oof", "infer@test", *DECIDE}
STAGES = {"phantom", "preprocess", "split", "pseudo", *TRAIN, *INFER}


class Project:
    """A git repository with the graph in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: Path, changes: dict[str, Any]) -> Project:
        """Copy what git knows of this repository, or would add, and change its parameters."""
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file() and name != "dvc.lock" and not name.startswith("reports/"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        project = cls(folder)
        project.change(changes)
        project.git("init", "-q")
        project.commit("start")
        return project

    @classmethod
    def with_members(cls, folder: Path, files: dict[str, str]) -> Project:
        """An empty repository below `folder` with these files, in which experiments can be pinned, and a remote beside it."""
        project = cls(folder / "project")
        for name, text in ({"members/README.md": "a note\n"} | files).items():
            (project.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (project.folder / name).write_text(text)
        project.git("init", "-q")
        project.sh(f"dvc init -q && dvc remote add -q -d store {folder / 'store'}")
        (project.folder / ".dvcignore").write_text("/members/README.md\n")
        return project

    def copy(self, folder: Path) -> Project:
        """A copy with its history, cache and outs, to be changed."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)

    def clone(self, folder: Path) -> Project:
        """What somebody else gets who clones the repository: no cache, no outs."""
        subprocess.run(["git", "clone", "-q", str(self.folder), str(folder)], check=True)
        return Project(folder)

    def change(self, changes: dict[str, Any]) -> None:
        """Change values in params.yaml."""
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for name, value in changes.items():
            if isinstance(value, dict):
                params[name] |= value
            else:
                params[name] = value
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def environment(self) -> dict[str, str]:
        """One thread a process: steadier on a busy machine. DATA is the data set of README.md's five lines."""
        user = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t"}
        here = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DATA": str(self.folder.parent / "competition"),
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "PYTHONDONTWRITE"))}
        return inherited | user | here

    def git(self, *arguments: str) -> str:
        """Run git and return what it prints."""
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=True
        ).stdout

    def commit(self, message: str) -> None:
        """Commit everything that is not ignored."""
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def sh(self, command: str, code: int | None = 0, **environment: str) -> str:
        """Run a command line with these changes of the environment and return all that it prints; fail where it ends with another code."""
        found, printed = run_line(command, self.folder, self.environment() | environment)
        assert code is None or found == code, printed[-5000:]
        return printed

    def reset(self) -> None:
        """Back to the last commit, outs included; DVC stages what it writes."""
        self.git("reset", "-q", "--hard")
        self.sh("dvc checkout -q")

    def metrics(self) -> dict[str, Any]:
        """reports/metrics.json."""
        return dict(json.loads((self.folder / "reports/metrics.json").read_text()))

    def digest(self, path: str) -> str:
        """SHA-256 of a file."""
        return hashlib.sha256((self.folder / path).read_bytes()).hexdigest()


def finished_run(factory: pytest.TempPathFactory) -> Project:
    """A copy of the small graph, run and committed: it runs once, whatever number of modules and processes of the tests use it."""
    shared = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    finished = shared / "finished_run"
    with (shared / "finished_run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(shared / "running", ignore_errors=True)
            (shared / "running").mkdir()
            _run_everything(Project.create(shared / "running", SMALL))
            (shared / "running").rename(finished)
    copy = factory.mktemp("copy") / "project"
    shutil.copytree(finished, copy, symlinks=True)
    return Project(copy)


def _run_everything(project: Project) -> None:
    before = (project.folder / "dvc.yaml").read_bytes()
    assert ran(project.sh("dvc repro")) == STAGES
    assert (project.folder / "dvc.yaml").read_bytes() == before  # some tools write into it
    project.commit("ran")


def ran(output: str) -> set[str]:
    """The stages that a `dvc repro` or `dvc exp run` really ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")}
