"""The stage train: its argument, its learning curve, and what its checkpoint depends on."""

import shutil
from pathlib import Path

import pytest
from stages.train import main

from conftest import Fails
from handbone.config.params import Params
from handbone.training.data.fold import TrainFiles
from handbone.training.fold_training import FoldTraining
from handbone.training.init_weights import InitWeights
from handbone.training.state import Progress, curve_table
from handbone.utils.io import read_table, write_table
from imports import ROOT


@pytest.mark.parametrize("arguments", [[], ["all"], ["0", "1"], ["-1"], ["5"]])
def test_the_argument_must_be_the_number_of_a_fold(arguments: list[str], monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.setattr("sys.argv", ["stages.train", *arguments])
    with fails("stage.argument", "stages.train"):
        main()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the repository's code and graph."""
    for folder in ("src", "stages"):
        shutil.copytree(ROOT / folder, tmp_path / "repository" / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path / "repository")
    return tmp_path / "repository"


@pytest.fixture
def training(tmp_path: Path) -> FoldTraining:
    table = tmp_path / "table.csv"
    table.write_text("key,person\n")
    files = TrainFiles(table, table, table, table, sample=Path, pseudo_sample=Path)
    return FoldTraining(0, Params(), files, InitWeights(table, of_experiment=False))


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def test_an_edit_of_the_report_keeps_the_checkpoint(root: Path, training: FoldTraining) -> None:
    before = training.fingerprint(root)
    append(root / "src/handbone/report/html.py", "# edited\n")
    append(root / "stages/report.py", "# edited\n")
    assert training.fingerprint(root) == before


@pytest.mark.parametrize("file", ["src/handbone/training/losses.py", "src/handbone/models/nets/segnet.py", "stages/train.py"])
def test_an_edit_of_what_trains_needs_a_new_checkpoint(file: str, root: Path, training: FoldTraining) -> None:
    before = training.fingerprint(root)
    append(root / file, "# edited\n")
    assert training.fingerprint(root) != before


def test_an_edit_of_the_graph_that_adds_no_file_keeps_the_checkpoint(root: Path, training: FoldTraining) -> None:
    before = training.fingerprint(root)
    append(root / "dvc.yaml", "# edited\n")
    assert training.fingerprint(root) == before


def test_the_checkpoint_does_not_depend_on_where_the_repository_is(root: Path, training: FoldTraining) -> None:
    assert training.fingerprint(root) == training.fingerprint(ROOT)


def test_the_checkpoint_depends_on_parameters_data_and_fold(root: Path, training: FoldTraining) -> None:
    before = training.fingerprint(root)
    params = training.params
    longer = params.model_copy(update={"train": params.train.model_copy(update={"epochs": 7})})
    assert FoldTraining(0, longer, training.files, training.weights).fingerprint(root) != before
    assert FoldTraining(1, params, training.files, training.weights).fingerprint(root) != before
    append(training.files.folds, "A/1,A\n")
    assert training.fingerprint(root) != before


def test_the_learning_curve_has_an_empty_cell_in_epochs_without_validation(tmp_path: Path) -> None:
    progress = Progress()
    for epoch, dice in ((1, None), (2, 0.5)):
        progress.losses = [1.0, 2.0]
        progress.finish_epoch(epoch, 0.01, dice)
    write_table(tmp_path / "curve.csv", curve_table(progress.rows))
    assert (tmp_path / "curve.csv").read_text() == "epoch,lr,loss,dice\n1,0.01,1.5,\n2,0.01,1.5,0.5\n"
    assert read_table(tmp_path / "curve.csv")["dice"].isna().tolist() == [True, False]
