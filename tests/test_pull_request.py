"""What .github/workflows/report.yml posts on a pull request, made in a clone that has neither data nor cache."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import pandas as pd
import pytest
import yaml

from imports import ROOT
from project import Project


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """This repository's graph with invented results, and a branch with another threshold and better Dice."""
    project = Project(tmp_path_factory.mktemp("clone"))
    for name in ("dvc.yaml", "params.yaml", "docs/pull_request.py", ".dvc/config", ".gitignore"):
        (project.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (project.folder / name).write_text((ROOT / name).read_text())
    project.git("init", "-q", "-b", "main")
    write_results(project.folder / "reports", 0.8)
    project.commit("base")
    project.git("checkout", "-qb", "better")
    write_results(project.folder / "reports", 0.9)
    project.change({"decide": {"threshold": 0.45}})
    project.commit("better")
    return project


def write_results(reports: Path, dice: float) -> None:
    reports.mkdir(exist_ok=True)
    (reports / "metrics.json").write_text(f'{{"dice": {{"mean": {dice}}}}}')
    for name in ("dice_per_class.csv", "test_dice_per_class.csv"):
        pd.DataFrame({"class": ["Radius", "NA"], "dice": [dice, dice + 0.05]}).to_csv(reports / name, index=False)


def test_scores_and_parameters_are_tables_and_the_classes_a_picture(clone: Project) -> None:
    clone.sh("python docs/pull_request.py main out")
    report = (clone.folder / "out/report.md").read_text()
    assert re.search(r"\| dice\.mean +\| 0\.8 +\| 0\.9 +\|", report) and re.search(r"\| decide\.threshold +\| 0\.5 +\| 0\.45", report)
    picture = cv2.imread(str(clone.folder / "out/classes.png"))
    assert picture is not None and picture.shape[1] > 800, "two panels"


def test_a_base_without_results_is_drawn_alone(clone: Project) -> None:
    """As where the workflow is new, or the base is older than the tables."""
    clone.git("checkout", "-q", "--orphan", "empty")
    clone.git("rm", "-rqf", "--cached", "reports")
    clone.git("commit", "-qm", "no results")
    clone.git("checkout", "-qf", "better")
    clone.sh("python docs/pull_request.py empty out")
    assert "dice.mean" in (clone.folder / "out/report.md").read_text()


def test_nothing_that_differs_is_said(clone: Project) -> None:
    clone.sh("python docs/pull_request.py better out")
    assert (clone.folder / "out/report.md").read_text().count("differs") == 2


def test_the_workflow_runs_this_script_with_the_versions_of_the_project() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/report.yml").read_text())
    job = workflow["jobs"]["report"]
    runs = "\n".join(step.get("run", "") for step in job["steps"])
    assert "python docs/pull_request.py" in runs and "fork" not in job["if"] and workflow["permissions"]["pull-requests"] == "write"
    ranges = (ROOT / "pyproject.toml").read_text()
    (install,) = re.findall(r"pip install (.*)", runs)
    assert all(requirement in ranges for requirement in re.findall(r'"([^"]+)"', install))
