"""The real graph, run by DVC on a few small phantoms: the traps that DVC pipelines of this shape fall into, each as a test."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from handbone.config.params import load_params
from handbone.dataset.annotation import read_polygons
from handbone.evaluation.dice import dice
from handbone.masks.rasterize import rasterize
from handbone.masks.rle import decode_runs
from project import DECIDE, INFER, SMALL, Project, finished_run, ran


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The graph, run and committed."""
    return finished_run(tmp_path_factory)


def test_a_second_run_runs_nothing(project: Project) -> None:
    """By now every imported module has a __pycache__ beside it, which must not count as code."""
    assert list(project.folder.rglob("__pycache__"))
    assert not ran(project.sh("dvc repro"))
    assert not project.git("status", "--porcelain")


def test_metrics_have_every_name_and_no_nan(project: Project) -> None:
    """DVC shows NaN as changed in every diff."""
    text = (project.folder / "reports/metrics.json").read_text()
    assert "NaN" not in text
    metrics = json.loads(text)
    assert metrics["n_images"] == 8
    assert metrics["n_folds"] == 2
    assert set(metrics["dice"]["per_fold"]) == {"0", "1"}
    assert metrics["test"]["n_images"] == 4


def test_the_submission_has_the_format_and_decodes_to_the_score(project: Project) -> None:
    """Scored here again, from the CSV and the polygons, by the competition's definition alone."""
    table = pd.read_csv(project.folder / "submissions/submission.csv", keep_default_na=False)
    params = SMALL["phantom"]
    root = project.folder / "data/phantom"
    images = sorted(path.relative_to(root / "test/DCM").as_posix() for path in (root / "test/DCM").rglob("*.png"))
    classes = pd.read_csv(project.folder / "reports/test_dice_per_class.csv")["class"].tolist()
    assert list(table.columns) == ["image_name", "class", "rle"]
    assert table["image_name"].tolist() == [image.split("/")[1] for image in images for _ in classes]
    assert table["class"].tolist() == classes * len(images)
    size = (params["size"], params["size"])
    scores = []
    for number, image in enumerate(images):
        polygons, _ = read_polygons(root / "test_truth/outputs_json" / image.replace(".png", ".json"), classes, size, allow_missing=False)
        truth = rasterize(polygons, size).dense()
        predicted = decode_runs(table["rle"][29 * number : 29 * (number + 1)].tolist(), *size).boxed().dense()
        both = (truth & predicted).sum((1, 2))
        scores.append(dice(np.stack([both, predicted.sum((1, 2)) - both, truth.sum((1, 2)) - both], 1)))
    assert np.mean(scores) == pytest.approx(project.metrics()["test"]["dice"]["mean"], abs=1e-12)


def test_the_lineage_names_everything_that_made_the_submission(project: Project) -> None:
    lineage = json.loads((project.folder / "submissions/submission.json").read_text())
    assert lineage["submission_sha256"] == project.digest("submissions/submission.csv")
    for fold in "01":
        assert lineage["models"][fold]["sha256"] == project.digest(f"models/fold_{fold}/model.safetensors")
    assert lineage["parameters"]["model"]["encoder"] == "resnet18"
    assert len(lineage["git"]["commit"]) == 40
    assert lineage["data_sha256"] == {subset: project.digest(f"data/cache/{subset}/index.csv") for subset in ("train", "test")}


def test_the_page_stands_alone(project: Project) -> None:
    page = (project.folder / "reports/index.html").read_text()
    assert "Pisiform" in page
    assert page.count("<script") == 1 and not re.search(r'(?:src|href|srcset)="(?!data:|#)', page)
    assert f"{project.metrics()['test']['dice']['mean']:.4f}" in page


def test_the_page_has_the_time_of_each_stage(project: Project) -> None:
    noted = {path.name for path in (project.folder / ".dvc/tmp/durations").iterdir()}
    assert noted >= {"phantom", "preprocess", "split", "pseudo", "train@0", "train@1", "infer@oof", "infer@test", "validate", "submit"}
    page = (project.folder / "reports/index.html").read_text()
    assert re.search(r"<b>train</b><span>[\d.]+ s \(0\) \+ [\d.]+ s \(1\)</span>", page)


def test_plots_and_metrics_can_be_shown(project: Project) -> None:
    assert max(map(len, project.sh("dvc metrics show").splitlines())) < 180, "a line of a wide terminal"
    project.sh("dvc plots show")
    page = (project.folder / "dvc_plots/index.html").read_text()
    assert all(plot in page for plot in ("reports_train_fold_0_csv", "reports_train_fold_1_csv", "reports_dice_per_class_csv"))
    assert "reports_test_dice_per_class_csv" in page


def test_a_clean_clone_needs_nothing_but_the_cache(project: Project, tmp_path: Path) -> None:
    """DVC writes no .gitignore into a folder that a stage depends on; and the check would see a change."""
    clone = project.clone(tmp_path / "clone")
    assert (clone.folder / "models/README.md").is_file() and (clone.folder / "submissions/README.md").is_file()
    clone.sh("rm -r models")  # DVC counts a folder without the models as changed models, and a missing one as missing
    assert not ran(clone.sh("dvc repro --dry --allow-missing"))
    clone.change({"seed": 99})
    assert "train@0" in clone.sh("dvc repro --dry --allow-missing", code=255)


def test_another_threshold_runs_no_network(project: Project) -> None:
    submission, metrics = project.digest("submissions/submission.csv"), project.metrics()
    assert ran(project.sh("dvc exp run -S decide.threshold=0.45")) == DECIDE
    assert project.digest("submissions/submission.csv") != submission
    assert project.metrics() != metrics
    assert json.loads((project.folder / "reports/decision.json").read_text())["threshold"] == 0.45
    assert json.loads((project.folder / "submissions/submission.json").read_text())["decision"]["threshold"] == 0.45
    project.reset()
    assert project.metrics() == metrics


def test_prediction_settings_retrain_nothing(project: Project) -> None:
    assert ran(project.sh("dvc exp run -S infer.hflip=false -S 'infer.crf={stride: 2, radius: 8}'")) == INFER
    assert json.loads((project.folder / "submissions/submission.json").read_text())["parameters"]["infer"]["crf"]["radius"] == 8
    project.reset()


def test_files_of_editors_and_systems_make_no_stage_stale(project: Project) -> None:
    names = [".DS_Store", "Thumbs.db", "params.py~", ".runs.py.swp", "._mask.py"]
    code, data = ["src/handbone/masks", "src/handbone/models/nets"], ["data/phantom/train/DCM/ID001", "data/cache/train", "models"]
    files = [project.folder / folder / name for folder in [*code, *data] for name in names]
    for file in files:
        file.write_text("not ours")
    assert "up to date" in project.sh("dvc status")
    assert not ran(project.sh("dvc repro"))
    for file in files:
        file.unlink()


def test_other_test_images_retrain_nothing(project: Project) -> None:
    """As in a competition's second stage."""
    project.change({"phantom": {"test_people": SMALL["phantom"]["test_people"] + 1}})
    assert ran(project.sh("dvc repro split pseudo")) == {"phantom", "preprocess", "pseudo"}
    assert ran(project.sh("dvc repro --dry")) == {"infer@test", "submit", "report"}
    project.reset()


def test_what_is_added_to_dvc_is_known_to_it(project: Project) -> None:
    """So it is in the copies in which a queue works, and in what is pushed: git ignores everything else in these folders."""
    added = [project.folder / name for name in ("data/raw", "weights/mine", "pseudo/mine.csv")]
    for path in added:
        path.write_text("mine")
        project.sh(f"dvc add {path.relative_to(project.folder)}")
    listed = project.sh("dvc list . --dvc-only --recursive").split()
    assert {"data/raw", "weights/mine", "pseudo/mine.csv"} <= set(listed)
    assert "weights/mine.dvc" in project.git("status", "--porcelain")
    for path in added:
        path.unlink()
    project.git("reset", "-q", "--hard")


def test_the_real_competition_in_five_lines(project: Project) -> None:
    """README.md's lines. Nobody knows the test's truth, and no phantom is made."""
    shutil.copytree(project.folder / "data/phantom", project.environment()["DATA"], ignore=shutil.ignore_patterns("test_truth"))
    shutil.copytree(project.folder / "data/phantom/test_truth", project.folder / ".dvc/tmp/test_truth")
    submission, score = project.digest("submissions/submission.csv"), project.metrics()["test"]["dice"]["mean"]
    project.sh('ln -s "$DATA" data/raw')
    project.sh("handbone preset gpu24")
    small = yaml.safe_load(project.git("show", "HEAD:params.yaml"))
    project.change({name: value for name, value in small.items() if name != "data"})  # except for the data it is the small graph that ran
    assert not ran(project.sh("dvc repro")) & {"train@0", "train@1"}  # the same images and polygons, wherever they are
    assert "dice.mean" in project.sh("dvc metrics show")
    assert "test" not in project.metrics()
    assert project.sh("head -3 submissions/submission.csv").startswith("image_name,class,rle\n")
    assert project.digest("submissions/submission.csv") == submission
    assert "test_truth" in project.sh("handbone score", code=1)
    assert [path.name for path in (project.folder / "data/phantom").iterdir()] == ["README.txt"]
    correct_a_polygon(project, score)
    (project.folder / "data/raw").unlink()
    project.reset()


def correct_a_polygon(project: Project, score: float) -> None:
    """The truth becomes known, with one polygon corrected: the cache is the same, so no network runs; the same CSV has another score."""
    root = Path(project.environment()["DATA"])
    shutil.copytree(project.folder / ".dvc/tmp/test_truth", root / "test_truth")
    file = next((root / "test_truth").rglob("*.json"))
    document = json.loads(file.read_text())
    document["annotations"][0]["points"] = [[1, 1], [9, 1], [9, 9]]
    file.write_text(json.dumps(document))
    assert ran(project.sh("dvc repro")) == {"preprocess", "submit", "report"}
    assert project.metrics()["test"]["dice"]["mean"] != score


def test_a_number_may_be_written_as_3e_3(project: Project) -> None:
    """DVC and the stages must read a hand-edited file alike; this is the number that was there."""
    path = project.folder / "params.yaml"
    text = path.read_text()
    assert "lr: 0.003\n" in text
    path.write_text(text.replace("lr: 0.003\n", "lr: 3e-3\n"))
    assert load_params(path).train.lr == 0.003
    assert not ran(project.sh("dvc repro"))
    project.reset()
