"""The samples of a fold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from conftest import Fails
from handbone.config.params import Params
from handbone.training.data.fold import TrainFiles, fold_argument, fold_samples
from handbone.utils.hashing import file_hash


@pytest.fixture
def files(tmp_path: Path) -> TrainFiles:
    keys, people = ["A/1", "B/1", "C/1"], ["A", "B", "C"]
    tables: dict[str, dict[str, Any]] = {
        "index": {"key": keys, "person": people, "height": 64, "width": 48},
        "areas": {"key": keys, "class": "x", "pixels": [5, 0, 3]},
        "folds": {"key": keys, "person": people, "fold": [0, 1, 1]},
        "pseudo": {"key": ["T/1"], "person": ["T"], "height": [64], "width": [48], "weight": [0.5]},
    }
    for name, columns in tables.items():
        pd.DataFrame(columns).to_csv(tmp_path / f"{name}.csv", index=False)
    index, areas, folds, pseudo = (tmp_path / f"{name}.csv" for name in tables)
    return TrainFiles(index, areas, folds, pseudo, lambda key: Path("cache", key), lambda key: Path("pseudo", key))


def params(**train: Any) -> Params:
    base = Params()
    data = base.data.model_copy(update={"classes": ["x"]})
    return base.model_copy(update={"data": data, "train": base.train.model_copy(update=train)})


def test_a_fold_validates_its_people_and_trains_on_the_others_and_on_pseudo_labels(files: TrainFiles) -> None:
    samples = fold_samples(0, params(oversample={"x": 3.0}), files)
    assert samples.val_files() == {"A/1": Path("cache/A/1")}
    assert samples.train["file"].tolist() == [Path("cache/B/1"), Path("cache/C/1"), Path("pseudo/T/1")]
    assert samples.train["rate"].tolist() == [1.0, 3.0, 1.0]
    assert samples.train["weight"].tolist() == [1.0, 1.0, 0.5]


def test_excluded_people_are_validated_but_not_trained_on(files: TrainFiles) -> None:
    assert fold_samples(0, params(exclude=["B"]), files).train["key"].tolist() == ["C/1", "T/1"]
    assert fold_samples(1, params(exclude=["B"]), files).val["key"].tolist() == ["B/1", "C/1"]


def test_a_fold_without_images_is_an_error(files: TrainFiles, fails: Fails) -> None:
    with fails("folds.empty", "folds: 3"):
        fold_samples(3, params(), files)
    with fails("train.fold", "train.exclude"):
        fold_samples(1, params(exclude=["A"]), files)


@pytest.mark.parametrize("cached", [["y"], ["x", "y"], []])
def test_masks_of_other_classes_are_an_error(cached: list[str], files: TrainFiles, fails: Fails) -> None:
    """As where a stage is run by hand after data.classes has changed."""
    rows = [{"key": key, "class": name, "pixels": 1} for key in ("A/1", "B/1", "C/1") for name in cached]
    pd.DataFrame(rows, columns=["key", "class", "pixels"]).to_csv(files.areas, index=False)
    with fails("cache.classes", "areas.csv"):
        fold_samples(0, params(), files)


def test_a_missing_table_is_an_error(files: TrainFiles, fails: Fails) -> None:
    files.folds.unlink()
    with fails("stage.input_missing", "folds.csv"):
        fold_samples(0, params(), files)


@pytest.mark.parametrize(("last_row", "code"), [("", "folds.missing"), ("C/1,C,5\n", "folds.number")])
def test_the_table_of_folds_must_be_that_of_the_images_and_of_the_parameters(
    last_row: str, code: str, files: TrainFiles, fails: Fails
) -> None:
    """tests/dataset/test_folds.py has everything else that may be wrong with it."""
    files.folds.write_text("key,person,fold\nA/1,A,0\nB/1,B,1\n" + last_row)
    with fails(code, "folds.csv: C/1"):
        fold_samples(0, params(), files)


def test_the_file_of_another_sample_is_an_error(tmp_path: Path, files: TrainFiles, fails: Fails) -> None:
    cached = {key: tmp_path / f"cache{key[0]}" for key in ("A/1", "B/1", "C/1")}
    cached |= {"T/1": tmp_path / "pseudoT"}
    for key, file in cached.items():
        file.write_text(key)
    for file in (files.index, files.pseudo_index):
        table = pd.read_csv(file)
        table.assign(sha256=[file_hash(cached[key]) for key in table["key"]]).to_csv(file, index=False)
    files = replace(files, sample=lambda key: tmp_path / f"cache{key[0]}", pseudo_sample=lambda key: tmp_path / f"pseudo{key[0]}")
    fold_samples(0, params(), files).check_files(files)
    cached["A/1"].write_text("B/1")  # held out
    with fails("cache.changed", "cacheA"):
        fold_samples(0, params(), files).check_files(files)
    cached["A/1"].write_text("A/1")
    cached["T/1"].write_text("B/1")
    with fails("cache.changed", "pseudoT"):
        fold_samples(0, params(), files).check_files(files)


@pytest.mark.parametrize("arguments", [["5"], ["-1"], ["1.0"], [], ["0", "1"], ["²"]])
def test_a_fold_that_does_not_exist_is_an_error(arguments: list[str], fails: Fails) -> None:
    assert fold_argument(["4"], 5) == 4
    with fails("stage.argument"):
        fold_argument(arguments, 5)
