"""`handbone compare` in a small git repository with experiments in DVC's cache."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from project import Project

PEOPLE, CLASSES = 30, ["Radius", "Ulna", "Pisiform"]
GRAPH = """
stages:
  split:
    cmd: mkdir -p data && cp source/folds.csv data/
    deps: [source/folds.csv]
    outs: [data/folds.csv]
  validate:
    cmd: mkdir -p reports && cp source/validation_counts.csv reports/
    deps: [source/validation_counts.csv, data/folds.csv]
    outs: [reports/validation_counts.csv]
"""


def write_source(folder: Path, better: float = 0.0, people: int = PEOPLE) -> None:
    """Two images per person; the share `better` of each Pisiform's 1000 pixels is found in addition."""
    rng = np.random.default_rng(0)
    keys = [f"ID{person:03}/image{image}" for person in range(people) for image in range(2)]
    rows = [(key, name, int(800 + rng.integers(-50, 50) + (name == "Pisiform") * 1000 * better), 0) for key in keys for name in CLASSES]
    table = pd.DataFrame(rows, columns=["key", "class", "tp", "fp"]).assign(fn=lambda table: 1000 - table["tp"], fold=0)
    (folder / "source").mkdir(exist_ok=True)
    table.to_csv(folder / "source/validation_counts.csv", index=False)
    pd.DataFrame({"key": keys, "person": [key[:5] for key in keys], "fold": 0}).to_csv(folder / "source/folds.csv", index=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A commit, an experiment in which Pisiform is better, and the working tree of the commit."""
    project = Project(tmp_path_factory.mktemp("project"))
    (project.folder / "dvc.yaml").write_text(GRAPH)
    (project.folder / ".gitignore").write_text("/data/\n/reports/\n")
    write_source(project.folder)
    project.git("init", "-q")
    project.sh("dvc init -q && dvc repro -q")
    project.commit("start")
    write_source(project.folder, better=0.05)
    project.sh("dvc exp run -q -n better")
    project.reset()
    return project


@pytest.fixture
def project(base: Project, tmp_path: Path) -> Project:
    """A copy, to be changed."""
    shutil.copytree(base.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


def test_an_experiment_is_compared_with_the_working_tree(base: Project) -> None:
    """The second minus the first; the same call prints the same."""
    output = base.sh("handbone compare better")
    assert re.match(r"-0\.0\d{3} \[-0\.0\d{3}, -0\.0\d{3}\]: beyond the noise\n", output)
    assert "60 held-out images of 30 people and 3 classes" in output
    assert "1 of 3 classes" in output and "Pisiform" in output and "Radius" not in output
    assert len(re.findall(r"ID\d{3}/image\d", output)) == 5
    assert base.sh("handbone compare better") == output
    assert not base.git("status", "--porcelain")


def test_the_document_has_every_class_and_image(base: Project) -> None:
    document = json.loads(base.sh("handbone compare HEAD better --json"))
    assert document["dice"]["beyond_noise"] and document["dice"]["low"] < document["dice"]["difference"] < document["dice"]["high"]
    assert [name for name, row in document["classes"].items() if row["beyond_noise"]] == ["Pisiform"]
    assert len(document["images"]) == 60 and document["n_people"] == 30 and document["left_out"] == []


def test_two_revisions_are_compared_and_equal_ones_do_not_differ(base: Project) -> None:
    assert base.sh("handbone compare HEAD better").startswith("+0.0")
    assert base.sh("handbone compare HEAD").startswith("+0.0000 [+0.0000, +0.0000]: within the noise\n")


def test_a_quick_look_is_compared_on_the_images_that_both_have(project: Project) -> None:
    write_source(project.folder, people=10)
    project.sh("dvc repro -q")
    output = project.sh("handbone compare HEAD")
    assert "20 held-out images of 10 people" in output and "40 held-out images" in output


def test_every_unknown_revision_is_named(base: Project) -> None:
    output = base.sh("handbone compare nothing ''", code=1)
    assert "'nothing'" in output and "''" in output and "Traceback" not in output


def test_a_revision_without_results_is_an_error(project: Project) -> None:
    project.sh("git rm -q --cached dvc.lock && git commit -qm without")
    output = project.sh("handbone compare HEAD", code=1)
    assert "reports/validation_counts.csv" in output and "data/folds.csv" in output and "Traceback" not in output


def test_a_file_that_the_cache_lacks_comes_with_the_command_that_fetches_it(project: Project, tmp_path: Path) -> None:
    project.sh(f"dvc remote add -q -d store {tmp_path / 'store'} && dvc push -q && rm -r .dvc/cache/files")
    output = project.sh("handbone compare HEAD", code=1)
    (command,) = re.findall(r"run (dvc fetch [^;]+);", output)
    project.sh(command)
    assert project.sh("handbone compare HEAD").startswith("+0.0000")


def test_outside_a_repository_the_error_says_where_to_run_it(tmp_path: Path) -> None:
    output = Project(tmp_path).sh("handbone compare HEAD", code=1)
    assert "Traceback" not in output and "repository" in output
