"""A submission's record names the code, or says why it cannot."""

import subprocess
from pathlib import Path

from handbone.submission.lineage import git_revision


def git(folder: Path, *arguments: str) -> str:
    user = ["-c", "user.name=t", "-c", "user.email=t@t"]
    return subprocess.run(["git", *user, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_in_a_repository_it_is_the_commit_and_the_changed_files_that_no_run_writes(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "reports").mkdir()
    for name in ("kept", "changed", "dvc.lock", "reports/one", "reports/two"):
        (tmp_path / name).write_text("1")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "start")
    for name in ("changed", "dvc.lock", "reports/one"):
        (tmp_path / name).write_text("2")
    (tmp_path / "reports/two").unlink()
    (tmp_path / "untracked").write_text("3")
    found = git_revision(tmp_path, [Path("dvc.lock"), Path("reports")])
    assert found == {"commit": git(tmp_path, "rev-parse", "HEAD"), "changed_files": ["changed"]}


def test_outside_a_repository_it_says_so(tmp_path: Path) -> None:
    found = git_revision(tmp_path, [])
    assert found["commit"] is None and "repository" in found["reason"]
