"""Files of a folder in another revision, read from DVC's cache."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pygit2 import GitError

from conftest import Fails
from handbone.provenance.revisions import stored_folders
from project import Project

GRAPH = """
stages:
  make:
    cmd: mkdir -p data/oof/a && echo ${value} > data/oof/a/one && echo 2 > data/oof/two
    params: [value]
    outs: [data/oof]
"""
OUT = Path("data/oof")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two commits, of which the first has another file in the folder than the working tree."""
    project = Project(tmp_path)
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    (tmp_path / "params.yaml").write_text("value: 1\n")
    (tmp_path / ".gitignore").write_text("/data/\n")
    project.git("init", "-q")
    project.sh("dvc init -q && dvc repro -q")
    project.commit("first")
    (tmp_path / "params.yaml").write_text("value: 5\n")
    project.sh("dvc repro -q")
    project.commit("second")
    monkeypatch.chdir(tmp_path)
    return project


def test_a_repository_of_somebody_else_comes_with_the_command(project: Project, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    """libgit2 refuses it by itself, before git is asked."""

    def refuse(*_: object, **__: object) -> None:
        raise GitError(f"repository path '{project.folder}' is not owned by current user")

    monkeypatch.setattr("dvc.repo.Repo.__init__", refuse)
    with fails("revision.unreadable", "HEAD") as caught:
        stored_folders("HEAD", [OUT])
    assert f"safe.directory {project.folder}" in str(caught.value)


def test_a_file_is_that_of_the_revision(project: Project, fails: Fails) -> None:
    commit, (folder,) = stored_folders("HEAD~1", [OUT])
    assert commit == project.git("rev-parse", "HEAD~1").strip() and folder.params == {"value": 1}
    assert [folder.file(OUT / name).read_text() for name in ("a/one", "two")] == ["1\n", "2\n"]
    with fails("revision.no_file", "HEAD~1: data/oof/three"):
        folder.file(OUT / "three")
    folder.file(OUT / "a/one").unlink()
    with fails("revision.not_cached", "HEAD~1: data/oof/a/one") as caught:
        folder.file(OUT / "a/one")
    assert re.search(r"dvc fetch .*data/oof", str(caught.value))


def test_a_broken_list_is_an_error(project: Project, fails: Fails) -> None:
    for path in (project.folder / ".dvc/cache/files").rglob("*.dir"):
        path.chmod(0o644)
        path.write_text("{")
    with fails("revision.folder", ".dir"):
        stored_folders("HEAD", [OUT])
