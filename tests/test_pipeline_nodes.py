"""One fold per task of a cluster, by the text of docs/scale.md alone, in the real graph: the project finds what the tasks trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages import Block, section
from project import TRAIN, Project, finished_run, ran

SHARED, SCRIPT, _, WITHOUT, _ = section("docs/scale.md", "Several nodes")


def run(folder: Path, project: Project, block: Block, task: int = 0) -> str:
    """Run a block in a folder, as that task of an array for the project; its other folders are beside the project."""
    beside = project.folder.parent
    text = block.text.replace("/shared", f"{beside}/shared").replace("/mnt", f"{beside}/mnt").replace(" URL ", f" {project.folder} ")
    slurm = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(task), "SLURM_SUBMIT_DIR": str(project.folder)}
    return Project(folder).sh(f"set -e\n{text}", **slurm)


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The graph in which the folds have other people since it ran, so that both must be trained again."""
    project = finished_run(tmp_path_factory)
    project.change({"seed": 4, "split": {"seed": 5}})
    return project


@pytest.mark.slow
def test_tasks_meet_in_a_shared_cache(project: Project, tmp_path: Path) -> None:
    run(project.folder, project, SHARED)
    for task in (0, 1):
        assert ran(run(tmp_path, project, SCRIPT, task)) == {f"train@{task}"}
    output = project.sh("dvc repro train")
    assert not ran(output) & TRAIN and "'train@0' is cached" in output and "'train@1' is cached" in output


@pytest.mark.slow
def test_tasks_meet_in_a_remote(project: Project, tmp_path: Path) -> None:
    store = project.folder.parent / "mnt/store"
    store.mkdir(parents=True)
    project.sh(f"dvc remote add -d store {store} && dvc repro split pseudo")
    project.commit("ready to train")
    project.sh("dvc push")
    assert ran(run(tmp_path, project, WITHOUT)) == {"train@0"}
    output = project.sh("dvc repro --pull train@0")
    assert not ran(output) & TRAIN and "'train@0' is cached" in output
