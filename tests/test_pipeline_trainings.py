"""Trainings of the real graph under the real DVC: what changes them, and how they end and resume."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from handbone.masks import kernels
from project import INFER, Project, finished_run, ran


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The graph, run and committed."""
    return finished_run(tmp_path_factory)


def test_another_network_retrains_and_a_repetition_comes_from_the_run_cache(project: Project) -> None:
    """Of one fold: the model of the other, of another network, is still in models/, and a glob would ensemble it."""
    assert ran(project.sh("dvc exp run -S model.arch=DeepLabV3Plus -S 'folds=[0]'")) == {"train@0", *INFER}
    first, metrics = project.digest("submissions/submission.csv"), project.metrics()
    assert list(json.loads((project.folder / "submissions/submission.json").read_text())["models"]) == ["0"]
    assert (metrics["n_folds"], metrics["n_images"]) == (1, 4) and (project.folder / "models/fold_1").exists()
    rows = project.sh("dvc metrics diff").splitlines()[1:]
    assert rows[0].split()[1] == "dice.mean" and len(rows) < 13
    project.reset()
    assert not ran(project.sh("dvc exp run -S model.arch=DeepLabV3Plus -S 'folds=[0]' -n again"))
    assert project.digest("submissions/submission.csv") == first
    project.reset()


@pytest.mark.slow
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


def test_weights_of_other_folds_are_refused(project: Project) -> None:
    """People held out now would have been trained on."""
    shutil.copytree(project.folder / "models", project.folder / "weights/others")
    project.change({"model": {"weights": "others"}, "split": {"seed": 77, "stratify": ["shape", "wrist", "classes"]}})
    output = project.sh("dvc repro train@0", code=None)
    assert "held out now may have been trained on" in output and "Traceback" not in output
    shutil.rmtree(project.folder / "weights/others")
    project.reset()


def train_until(project: Project, text: str, seconds: float = 0.0) -> str:
    """Train fold 0 until so many seconds after a line with the text, then send SIGTERM, as schedulers do -> everything that it prints."""
    command = [sys.executable, "-m", "stages.train", "0"]
    process = subprocess.Popen(
        command, cwd=project.folder, env=project.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            break
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    output = "".join(lines) + process.stdout.read()
    assert process.wait() == 143 and "Traceback" not in output, output
    return output


def test_a_training_that_is_stopped_saves_and_resumes(project: Project, tmp_path: Path) -> None:
    """In the middle of its one epoch, twice: the second part begins where the first one ended."""
    copy = project.copy(tmp_path / "copy")
    copy.change({"train": {"epochs": 1, "batch_size": 1, "oversample": {"Pisiform": 40.0}}})
    saved = re.findall(r"saved at (epoch 1 of 1, batch \d+)", train_until(copy, "per epoch", seconds=1.0))
    assert f"resumes at {saved[0]}" in train_until(copy, "resumes at")


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


@pytest.mark.slow
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
    with (clone.folder / "src/handbone/report/html.py").open("a") as file:
        file.write("# an edit of the report is no reason to train again\n")
    before = machine_code()
    output = clone.sh("dvc repro")
    assert machine_code() == before  # the first clone's machine code serves the second
    assert "fold 0: resumes at epoch 2 of 2" in output
    assert not checkpoints(clone)
    for path in ["models/fold_0/model.safetensors", "models/fold_1/model.safetensors", "submissions/submission.csv"]:
        assert clone.digest(path) == project.digest(path), path
    assert clone.metrics() == project.metrics()
