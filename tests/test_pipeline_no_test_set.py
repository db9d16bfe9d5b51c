"""The real graph on data without a test set, imported from COCO: out-of-fold scores and a trained ensemble."""

import shutil
from pathlib import Path

import pytest

from project import DECIDE, SMALL, STAGES, TRAIN, Project, ran

AGAIN = {"preprocess", "infer@test", "submit", "report"}  # what test images, once there are some, make run


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The phantoms' training set, through COCO and back, and the whole graph on it."""
    project = Project.create(tmp_path_factory.mktemp("project"), SMALL)
    project.sh("dvc repro phantom && cp -r data/phantom/test/DCM pictures")
    project.sh("handbone export-labels --format coco data/phantom -o coco.json")
    imported = project.sh("handbone import coco coco.json --images data/phantom/train/DCM -o data/mine --person-from folder")
    assert imported.count("WARNING") == 1 and "held-out people" in imported
    project.change({"data": {"root": "data/mine"}})
    output = project.sh("dvc repro")
    assert ran(output) == STAGES
    assert "data/mine/test/DCM: expected test images; found none" in output
    project.commit("ran")
    return project


@pytest.mark.slow
def test_scores_are_those_of_held_out_people(project: Project) -> None:
    metrics = project.metrics()
    assert metrics["n_images"] == 8 and "test" not in metrics
    assert (project.folder / "submissions/submission.csv").read_text() == "image_name,class,rle\n"
    page = (project.folder / "reports/index.html").read_text()
    assert f"{metrics['dice']['mean']:.4f}" in page and "Test Dice" not in page
    assert not ran(project.sh("dvc repro"))


@pytest.mark.slow
def test_commands_about_the_test_set_say_that_there_is_none(project: Project) -> None:
    assert "data/mine: expected test images; found none" in project.sh("handbone score", code=1)
    assert "data/mine: expected the test images" in project.sh("handbone doctor submissions/submission.csv", code=1)
    shutil.copy(project.folder / "submissions/submission.csv", project.folder / "pseudo/labels.csv")
    refused = project.sh("dvc repro pseudo", code=0)
    assert not ran(refused)
    refused = project.sh("dvc exp run -S pseudo.labels=labels.csv", code=255)
    assert "pseudo.labels: expected null" in refused and "Traceback" not in refused
    (project.folder / "pseudo/labels.csv").unlink()
    project.reset()


@pytest.mark.slow
def test_the_models_and_the_held_out_scores_are_used_as_ever(project: Project) -> None:
    project.sh("handbone doctor data/mine", code=None)
    assert "yes: " in project.sh("handbone explain submissions/submission.csv")
    project.sh("handbone predict pictures -o masks && handbone export bones && handbone predict pictures -o again --model bones")
    assert len(list((project.folder / "masks/json").rglob("*.json"))) == len(list((project.folder / "again/json").rglob("*.json"))) == 4
    project.sh("handbone members add HEAD --as first")
    assert ran(project.sh("dvc exp run -S '+decide.members={current: 1, first: 1}'")) == DECIDE
    assert " the noise\n" in project.sh("handbone compare HEAD --html ../page.html")
    project.sh("handbone members remove first")
    for name in ("masks", "again", "bones"):
        shutil.rmtree(project.folder / name)
    project.reset()


@pytest.mark.slow
def test_test_images_train_nothing_when_they_come(project: Project) -> None:
    shutil.copytree(project.folder / "pictures", project.folder / "data/mine/test/DCM")
    assert ran(project.sh("dvc repro")) - {"pseudo"} == AGAIN
    assert len((project.folder / "submissions/submission.csv").read_text().splitlines()) == 1 + 4 * 29
    shutil.rmtree(project.folder / "data/mine/test")
    Path(project.folder / "data/mine/test/DCM").mkdir(parents=True)  # an empty folder is as none
    assert not ran(project.sh("dvc repro")) & TRAIN
    assert not project.git("status", "--porcelain", "--untracked-files=no")
