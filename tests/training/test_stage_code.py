"""The code of a stage is what dvc.yaml lists."""

from pathlib import Path

import pytest

from handbone.training.stage_code import stage_code
from imports import ROOT

GRAPH = """
stages:
  train:
    matrix: {fold: "${folds}"}
    cmd: python -m stages.train ${item.fold}
    deps: [data/folds.csv, "weights/${model.weights}", src/handbone/training, src/handbone/evaluation/dice.py, stages/train.py]
  infer:
    foreach: {oof: {images: data/cache/train}}
    do:
      cmd: python -m stages.infer ${key}
      deps: ["${item.images}", stages/infer.py]
"""
TRAIN = ["src/handbone/evaluation/dice.py", "src/handbone/training/data/loader.py", "src/handbone/training/losses.py", "stages/train.py"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    for name in [*TRAIN, "src/handbone/evaluation/metrics.py", "src/handbone/training/notes.txt", "stages/infer.py"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(root: Path, stage: str) -> list[str]:
    return [file.as_posix() for file in stage_code(root, stage)]


def test_a_folder_counts_with_its_python_files(root: Path) -> None:
    assert names(root, "train") == TRAIN


def test_the_template_of_several_stages_is_read(root: Path) -> None:
    assert names(root, "infer") == ["stages/infer.py"]


def test_the_working_folder_does_not_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = names(ROOT, "train")
    monkeypatch.chdir(tmp_path)
    assert names(ROOT, "train") == expected


def test_training_depends_on_its_losses_but_not_on_the_report() -> None:
    found = names(ROOT, "train")
    assert {"stages/train.py", "src/handbone/training/losses.py"} <= set(found)
    assert not [name for name in found if name.startswith("src/handbone/report")]
