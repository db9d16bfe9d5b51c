"""The real graph, run by DVC on a few small phantoms: the traps that DVC pipelines of this shape fall into, each as a test."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from handbone.config.params import load_params
from handbone.dataset.annotation import read_polygons
from handbone.evaluation.dice import dice
from handbone.masks import kernels
from handbone.masks.rasterize import rasterize
from handbone.masks.rle import decode_runs
from project import SMALL, Project, ran

DECIDE = {"validate", "submit", "report"}  # no network runs in these
INFER = {"infer@oof", "infer@test", *DECIDE}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The graph, run once and committed."""
    project = Project.create(tmp_path_factory.mktemp("project"), SMALL)
    before = (project.folder / "dvc.yaml").read_bytes()
    output = project.sh("dvc repro")
    assert ran(output) == {"phantom", "preprocess", "split", "pseudo", "train@0", "train@1", *INFER}
    assert (project.folder / "dvc.yaml").read_bytes() == before  # some tools write into it
    project.commit("ran")
    return project


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
    assert "<script" not in page
    assert f"{project.metrics()['test']['dice']['mean']:.4f}" in page


def test_plots_and_metrics_can_be_shown(project: Project) -> None:
    assert max(map(len, project.sh("dvc metrics show").splitlines())) < 140, "one line of a terminal"
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


def test_another_network_retrains_and_a_repetition_comes_from_the_run_cache(project: Project) -> None:
    """An experiment that was run before comes back from the run-cache: nothing is computed twice."""
    assert ran(project.sh("dvc exp run -S model.arch=DeepLabV3Plus")) == {"train@0", "train@1", *INFER}
    first = project.digest("submissions/submission.csv")
    rows = project.sh("dvc metrics diff").splitlines()[1:]
    assert rows[0].split()[1] == "dice.mean" and len(rows) < 8
    project.reset()
    assert not ran(project.sh("dvc exp run -S model.arch=DeepLabV3Plus -n again"))
    assert project.digest("submissions/submission.csv") == first
    project.reset()


def test_everything_that_moves_the_score_can_be_set_at_once(project: Project) -> None:
    """Windows, pseudo-labels on which two submissions agree, weights of an earlier training, another optimiser, two processes."""
    shutil.copy(project.folder / "submissions/submission.csv", project.folder / "pseudo/first.csv")
    shutil.copy(project.folder / "submissions/submission.csv", project.folder / "pseudo/second.csv")
    shutil.copytree(project.folder / "models", project.folder / "weights/earlier")
    start = project.digest("weights/earlier/fold_0/model.safetensors")
    changes = {
        "model": {"weights": "earlier"},
        "pseudo": {"labels": "first.csv", "check": "second.csv", "weight": 0.25},
        "infer": {"window_size": 48, "window_stride": 24, "vflip": True, "scales": [0.75, 1.0]},
        "preprocess": {"clahe": 2.0},
        "machine": {"gpus_per_fold": 2, "num_workers": 1},
    }
    training = {
        "crop": 48,
        "target": "hard",
        "optimizer": "lion",
        "lr": 0.0003,
        "encoder_lr_mult": 0.5,
        "layer_decay": 0.8,
        "schedule": "poly",
    }
    training |= {
        "grad_accum": 2,
        "max_grad_norm": 1.0,
        "loss": {"bce": 1.0, "jaccard": [[1, 0.0], [2, 1.0]]},
        "class_weights": {"Pisiform": 2.0},
    }
    training |= {"swa_epochs": 1, "freeze_batch_norm": True, "oversample": {"wrist=straight": 1.5, "Pisiform": 3.0}, "augment": "strong"}
    project.change(changes | {"train": training, "folds": [0]})
    output = project.sh("dvc repro")
    assert ran(output) == {"preprocess", "split", "pseudo", "train@0", *INFER}
    assert "4 of 4 test images join the training" in output and "epoch" in output
    settings = json.loads((project.folder / "models/fold_0/model.json").read_text())
    assert settings["weights"] == "earlier" and settings["weights_sha256"] == start and settings["spec"]["arch"] == "Unet"
    lineage = json.loads((project.folder / "submissions/submission.json").read_text())
    assert lineage["parameters"]["pseudo"]["labels"] == "first.csv"
    assert project.metrics()["n_images"] == 4  # of the annotated people alone
    shutil.rmtree(project.folder / "weights/earlier")
    project.reset()


def test_what_is_added_to_dvc_is_known_to_it(project: Project) -> None:
    """And so is in the copies in which a queue works, and in what is pushed: git ignores what else lies in these folders."""
    added = [project.folder / name for name in ("data/raw", "weights/own", "pseudo/own.csv")]
    for path in added:
        path.write_text("own")
        project.sh(f"dvc add {path.relative_to(project.folder)}")
    listed = project.sh("dvc list . --dvc-only --recursive").split()
    assert {"data/raw", "weights/own", "pseudo/own.csv"} <= set(listed)
    assert "weights/own.dvc" in project.git("status", "--porcelain")
    for path in added:
        path.unlink()
    project.git("reset", "-q", "--hard")


def test_weights_of_other_folds_are_refused(project: Project) -> None:
    """People held out now would have been trained on."""
    shutil.copytree(project.folder / "models", project.folder / "weights/others")
    project.change({"model": {"weights": "others"}, "split": {"seed": 77, "stratify": ["shape", "wrist", "classes"]}})
    output = project.sh("dvc repro train@0", code=None)
    assert "held out now may have been trained on" in output and "Traceback" not in output
    shutil.rmtree(project.folder / "weights/others")
    project.reset()


def test_told_to_end_a_training_saves_and_goes_on(project: Project, tmp_path: Path) -> None:
    """SIGTERM to the stage, as schedulers send it, in the middle of its one epoch."""
    shutil.copytree(project.folder, tmp_path / "copy", symlinks=True)
    copy = Project(tmp_path / "copy")
    copy.change({"train": {"epochs": 1, "batch_size": 1, "oversample": {"Pisiform": 40.0}}})
    command = [sys.executable, "-m", "stages.train", "0"]
    process = subprocess.Popen(
        command, cwd=copy.folder, env=copy.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "per epoch" in line:
            break
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    assert process.wait() == 143, "".join(lines) + rest
    assert "saved at epoch 1 of 1, batch" in rest and "Traceback" not in rest
    assert "resumes at epoch 1 of 1, batch" in copy.sh("python -m stages.train 0")


def test_a_subset_of_folds_ensembles_no_stale_one(project: Project) -> None:
    """The model of another fold may still be in models/: a glob would ensemble it."""
    assert ran(project.sh("dvc exp run -S 'folds=[0]'")) == INFER
    lineage = json.loads((project.folder / "submissions/submission.json").read_text())
    assert list(lineage["models"]) == ["0"]
    assert project.metrics()["n_folds"] == 1
    assert project.metrics()["n_images"] == 4
    project.reset()


def machine_code() -> set[Path]:
    """numba's files of machine code of this user."""
    return set(kernels.FOLDER.rglob("*.nb[ic]"))


def checkpoints(project: Project) -> list[Path]:
    return list((project.folder / ".dvc/tmp/resume").glob("*/last.pt"))


def kill_after_first_epoch(project: Project, fold: int) -> None:
    """Start a fold's training under DVC and kill -9 the whole group as soon as one epoch is saved."""
    command = [sys.executable, "-m", "dvc", "repro", "-s", f"train@{fold}"]
    process = subprocess.Popen(
        command, cwd=project.folder, env=project.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 180
    while not checkpoints(project):
        assert process.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_another_clone_killed_and_resumed_gives_the_same_bytes(project: Project, tmp_path: Path) -> None:
    """Reproducibility: two clones, one of them killed during its training, end in the same weights and submission."""
    clone = project.clone(tmp_path / "clone")
    clone.git("rm", "-q", "dvc.lock")
    clone.sh("dvc repro split pseudo")
    kill_after_first_epoch(clone, 0)
    (left,) = checkpoints(clone)
    curve = pd.read_csv(clone.folder / "reports/train/fold_0.csv")
    assert curve["epoch"].tolist() == [1] or curve["epoch"].tolist() == [1, 2]  # complete as far as the training came
    clone.change({"train": {"lr": 0.0001}})
    assert "resumes at epoch" not in clone.sh("dvc repro -s train@0")  # another rate is another training
    assert checkpoints(clone) == [left]
    clone.git("checkout", "-q", "params.yaml")
    with (clone.folder / "src/handbone/report/page.py").open("a") as file:
        file.write("# an edit of the report is no reason to train again\n")
    before = machine_code()
    output = clone.sh("dvc repro")
    assert machine_code() == before  # the first clone's machine code serves the second
    assert "fold 0: resumes at epoch 2 of 2" in output
    assert not checkpoints(clone)
    for path in ["models/fold_0/model.safetensors", "models/fold_1/model.safetensors", "submissions/submission.csv"]:
        assert clone.digest(path) == project.digest(path), path
    assert clone.metrics() == project.metrics()


def test_the_real_competition_in_five_lines(project: Project) -> None:
    """README.md's lines. Nobody knows the test's truth, and no phantom is made."""
    shutil.copytree(project.folder / "data/phantom", project.environment()["DATA"], ignore=shutil.ignore_patterns("test_truth"))
    shutil.copytree(project.folder / "data/phantom/test_truth", project.folder / ".dvc/tmp/test_truth")
    submission = project.digest("submissions/submission.csv")
    project.sh('ln -s "$DATA" data/raw')
    project.sh("handbone preset gpu24")
    small = yaml.safe_load(project.git("show", "HEAD:params.yaml"))
    project.change({name: value for name, value in small.items() if name != "data"})  # except for the data it is the small graph that ran
    assert not ran(project.sh("dvc repro")) & {"train@0", "train@1"}  # the same images and polygons, wherever they lie
    assert "dice.mean" in project.sh("dvc metrics show")
    assert "test" not in project.metrics()
    assert project.sh("head -3 submissions/submission.csv").startswith("image_name,class,rle\n")
    assert project.digest("submissions/submission.csv") == submission
    assert "test_truth" in project.sh("handbone score", code=1)
    assert [path.name for path in (project.folder / "data/phantom").iterdir()] == ["README.txt"]
    correct_a_polygon(project)
    project.reset()


def correct_a_polygon(project: Project) -> None:
    """The truth becomes known, and then one polygon of it is corrected: the cache stays as it is, so no network runs for either."""
    root = Path(project.environment()["DATA"])
    shutil.copytree(project.folder / ".dvc/tmp/test_truth", root / "test_truth")
    assert ran(project.sh("dvc repro")) == {"preprocess", "submit", "report"}
    score = project.metrics()["test"]["dice"]["mean"]
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
