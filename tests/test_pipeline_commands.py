"""Commands beside the graph on a run of the real one: ensembles, searches, predictions, comparisons, records."""

import json
import shutil
from pathlib import Path

import pytest

from handbone.config.params import load_params
from project import DECIDE, Project, finished_run, ran


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The graph, run and committed."""
    return finished_run(tmp_path_factory)


def test_score_is_printed_last(project: Project) -> None:
    last = project.sh("handbone score").splitlines()[-1]
    assert f"{project.metrics()['test']['dice']['mean']:.4f}" in last
    document = json.loads(project.sh("handbone score --json"))
    assert document["dice"] == pytest.approx(project.metrics()["test"]["dice"]["mean"]) and len(document["classes"]) == 29


def test_the_doctor_knows_the_submission(project: Project) -> None:
    assert "ERROR" not in project.sh("handbone doctor submissions/submission.csv")


def test_a_plan_becomes_a_preset(project: Project) -> None:
    sizes = [line.split()[0] for line in project.sh("handbone plan --gpu 4090").splitlines() if line.startswith(" ")]
    assert "64" in sizes  # the size of this graph
    project.sh("handbone plan --gpu-gb 24 --write mine 64")
    project.sh("handbone preset mine --force")
    assert load_params(project.folder / "params.yaml").train.size == 64
    (project.folder / "presets/mine.yaml").unlink()
    project.reset()


def test_any_picture_is_predicted_here_and_without_the_repository(project: Project, tmp_path: Path) -> None:
    """The commands of docs/predict.md. The pictures are the test images, whose masks are known: those of the submission."""
    shutil.copytree(project.folder / "data/phantom/test/DCM", project.folder / "photos")
    project.sh("handbone predict photos -o masks")
    assert len(list((project.folder / "masks/json").rglob("*.json"))) == len(list((project.folder / "masks/overlay").rglob("*.jpg"))) == 4
    project.sh("handbone predict photos -o masks_of_head --as csv,coco,png --rev HEAD")
    assert project.digest("masks_of_head/predictions.csv") == project.digest("submissions/submission.csv")
    project.sh("handbone export bones")
    project.sh("handbone export bones_of_head --rev HEAD")
    assert project.digest("bones/predict.json") == project.digest("bones_of_head/predict.json")
    for name in ("bones", "photos"):
        (project.folder / name).rename(tmp_path / name)
    project.sh(f"cd {tmp_path} && handbone predict photos -o masks_of_bones --model bones")
    found = [(folder / "json/ID005").glob("*.json") for folder in (tmp_path / "masks_of_bones", project.folder / "masks")]
    assert [path.read_text() for path in sorted(found[0])] == [path.read_text() for path in sorted(found[1])]
    for name in ("masks", "masks_of_head", "bones_of_head"):
        shutil.rmtree(project.folder / name)


def test_a_revision_explains_its_held_out_images_as_the_working_tree_does(project: Project) -> None:
    project.sh("handbone cam -o cam")
    project.sh("handbone cam -o cam_of_head --rev HEAD")
    assert project.digest("cam/index.html") == project.digest("cam_of_head/index.html")
    for name in ("cam", "cam_of_head"):
        shutil.rmtree(project.folder / name)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("dvc exp run -S decide.threshold=per_class", "threshold"),
        ("dvc exp run -S 'decide.clean_up=[largest,min_area,fill_holes]'", "clean_up"),
    ],
)
def test_a_search_runs_no_network(project: Project, command: str, name: str) -> None:
    assert ran(project.sh(command)) == DECIDE
    assert list(json.loads((project.folder / "reports/decision.json").read_text())["searches"]) == [name]
    assert name in (project.folder / "reports/index.html").read_text()
    project.reset()


def test_experiments_can_be_compared(project: Project) -> None:
    project.sh("dvc exp run -S decide.threshold=0.3 -n again")
    project.reset()
    table = project.sh("dvc exp show --only-changed --drop '.*/.*' --md")
    assert "dice.mean" in table and max(map(len, table.splitlines())) < 320
    assert "decide.threshold=0.3" in project.sh("handbone best")
    for revisions in ("HEAD", "HEAD again"):
        assert " the noise\n" in project.sh(f"handbone compare {revisions} --html ../page.html")
    assert (project.folder.parent / "page.html").stat().st_size < 15e6


def test_a_submission_is_explained(project: Project) -> None:
    """The real record and the real graph: the commit's dvc.lock belongs to its files, whole folders of results included."""
    found = json.loads(project.sh("handbone explain submissions/submission.csv --json"))
    assert found["answer"] == "stored" and not found["stored"]["changed"] and not found["stored"]["lost"]


@pytest.mark.slow
def test_two_experiments_are_joined_and_a_clone_has_the_same_submission(project: Project, tmp_path: Path) -> None:
    """A short form of docs/evening.md. No network runs for the ensemble; the plan of a clone is empty even before it pulls."""
    copy = project.copy(tmp_path / "copy")
    copy.sh("dvc exp run -S model.arch=DeepLabV3Plus -n deeplab")
    copy.sh("git checkout . && dvc checkout")
    copy.sh("handbone members add deeplab --as deeplab")
    assert ran(copy.sh("dvc exp run -S '+decide.members={current: 1, deeplab: 1}'")) == DECIDE
    assert " the noise\n" in copy.sh("handbone compare HEAD --html ../page.html")
    lineage = json.loads((copy.folder / "submissions/submission.json").read_text())
    assert lineage["members"]["deeplab"]["arch"] == "DeepLabV3Plus" and lineage["parameters"]["model"]["arch"] == "Unet"
    assert copy.digest("submissions/submission.csv") != project.digest("submissions/submission.csv")
    copy.sh("git add . && git commit -m 'Ensemble of two networks'")
    explained = copy.sh("handbone explain submissions/submission.csv")
    assert "yes: the CSV itself is in DVC's cache" in explained and "deeplab, weight 1: DeepLabV3Plus" in explained
    copy.sh(f"dvc remote add -q -d store {tmp_path / 'store'} && dvc push -q")
    copy.commit("remote")
    clone = copy.clone(tmp_path / "clone")
    clone.sh("rm -r models")
    assert not ran(clone.sh("dvc repro --dry --allow-missing"))
    clone.sh("git checkout -q models && dvc pull -q")
    assert not ran(clone.sh("dvc repro"))
    assert clone.digest("submissions/submission.csv") == copy.digest("submissions/submission.csv")
    assert clone.sh("handbone members list").startswith("deeplab: deeplab (")
    clone.sh("handbone members remove deeplab")
    assert "handbone members add REV --as deeplab" in clone.sh("dvc repro", code=255)
