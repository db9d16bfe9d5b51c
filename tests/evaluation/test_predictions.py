"""Stored predictions belong to the folds and classes of params.yaml, and none is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from handbone.evaluation.predictions import read_predictions_record
from handbone.utils.errors import UserError
from handbone.utils.io import write_json

if TYPE_CHECKING:
    from conftest import Fails

CLASSES = ["Radius", "Ulna"]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "models.json"
    write_json(path, {"models": {fold: {"sha256": fold, "spec": {"classes": CLASSES}} for fold in ("0", "2")}})
    return path


def test_the_models_are_returned_by_fold(record: Path) -> None:
    models = read_predictions_record(record, {"a": record}, [2, 0], CLASSES)
    assert {fold: model["sha256"] for fold, model in models.items()} == {"0": "0", "2": "2"}


@pytest.mark.parametrize("folds", [[0], [0, 1], [0, 1, 2]])
def test_other_folds_are_an_error(record: Path, fails: Fails, folds: list[int]) -> None:
    with fails("predictions.folds", "models.json"):
        read_predictions_record(record, {}, folds, CLASSES)


@pytest.mark.parametrize("classes", [["Ulna", "Radius"], ["Radius"], ["Radius", "Lunate"]])
def test_other_classes_or_another_order_are_an_error_of_every_model(record: Path, fails: Fails, classes: list[str]) -> None:
    with fails("predictions.classes", "models.json: fold 0", "models.json: fold 2"):
        read_predictions_record(record, {}, [0, 2], classes)


def test_all_missing_files_are_listed(record: Path, tmp_path: Path, fails: Fails) -> None:
    files = {key: tmp_path / f"{key}.npz" for key in ("a", "b", "c")}
    files["b"].touch()
    with fails("predictions.missing", "a.npz", "c.npz") as caught:
        read_predictions_record(record, files, [0, 2], CLASSES)
    assert len(caught.value.places) == 2


def test_all_kinds_are_reported_together(record: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_predictions_record(record, {"a": tmp_path / "a.npz"}, [0], CLASSES[:1])
    assert caught.value.codes == {"predictions.folds", "predictions.classes", "predictions.missing"}


def test_without_a_record_it_says_so(tmp_path: Path, fails: Fails) -> None:
    with fails("stage.input_missing", "models.json"):
        read_predictions_record(tmp_path / "models.json", {}, [0], CLASSES)
