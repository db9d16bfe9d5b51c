"""What params.yaml has otherwise than the commit, and which experiments have it too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from handbone.provenance.uncommitted import Change, describe, uncommitted_params
from project import Project

METRICS = Path("metrics.json")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A commit with epochs 3, and an experiment of DVC with epochs 4."""
    project = Project(tmp_path)
    project.git("init", "-q")
    for epochs, message in ((3, "start"), (4, "experiment")):
        (tmp_path / "params.yaml").write_text(f"seed: 1\ntrain:\n  epochs: {epochs}\n")
        (tmp_path / METRICS).write_text(json.dumps({"dice": {"mean": 0.5}}))
        project.commit(message)
    project.git("update-ref", f"refs/exps/{'a' * 2}/{'b' * 38}/longer", "HEAD")
    project.git("reset", "-q", "--hard", "HEAD~1")
    return project


def test_a_value_is_named_with_the_experiments_that_have_it(project: Project) -> None:
    (project.folder / "params.yaml").write_text("seed: 2\ntrain:\n  epochs: 4\n")
    changes = uncommitted_params(project.folder, METRICS)
    assert changes == [Change("seed", 1, 2, []), Change("train.epochs", 3, 4, ["longer"])]
    assert "3 -> 4 (as in longer)" in "\n".join(describe(changes))


def test_an_equal_file_has_no_lines(project: Project) -> None:
    assert not list(describe(uncommitted_params(project.folder, METRICS)))


@pytest.mark.parametrize("text", [None, "a: [", "- 1"])
def test_a_file_that_cannot_be_read_is_the_loaders_question(project: Project, text: str | None) -> None:
    file = project.folder / "params.yaml"
    file.unlink() if text is None else file.write_text(text)
    list(describe(uncommitted_params(project.folder, METRICS)))


def test_without_git_there_is_nothing_to_say(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    assert uncommitted_params(tmp_path, METRICS) == []


def test_many_values_are_counted() -> None:
    lines = list(describe([Change(f"key{number}", 1, 2, []) for number in range(30)]))
    assert len(lines) < 15 and any("22 more" in line for line in lines)
