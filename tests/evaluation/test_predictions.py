"""Stored predictions belong to the folds, classes and samples at hand, are as they were written, and none is missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from handbone.evaluation.predictions import Predictions, read_predictions
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.errors import UserError
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_json, write_json

if TYPE_CHECKING:
    from conftest import Fails

CLASSES = ["Radius", "Ulna"]
MAPS = CroppedMaps.from_dense(np.arange(2 * 16 * 24, dtype=np.uint16).astype(np.uint8).reshape(2, 16, 24))


@dataclass
class Run:
    """Predictions of two samples by the folds 0 and 2, in a folder with the tables that they were computed from."""

    folder: Path

    @property
    def record(self) -> Path:
        return self.folder / "models.json"

    @property
    def files(self) -> dict[str, Path]:
        return {key: self.folder / f"{key}.npz" for key in "ab"}

    def write(self) -> None:
        for name in ("index.csv", "folds.csv"):
            (self.folder / name).write_text(name)
        for path in self.files.values():
            MAPS.save(path)
        tables = {str(self.folder / name): file_hash(self.folder / name) for name in ("index.csv", "folds.csv")}
        network = {"spec": {"classes": CLASSES}, "size": 24, "folds_sha256": file_hash(self.folder / "folds.csv")}
        files = {key: file_hash(path) for key, path in self.files.items()}
        write_json(self.record, {"models": {fold: {"sha256": fold} | network for fold in "02"}, "tables": tables, "files": files})

    def read(self, folds: tuple[int, ...] = (0, 2), classes: list[str] = CLASSES, files: dict[str, Path] | None = None) -> Predictions:
        tables = [self.folder / "index.csv", self.folder / "folds.csv"]
        return read_predictions(self.record, self.files if files is None else files, folds, classes, tables, tables[1])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    found = Run(tmp_path)
    found.write()
    return found


def test_the_models_are_returned_by_fold_and_the_maps_by_key(run: Run) -> None:
    predictions = run.read(folds=(2, 0))
    assert {fold: model["sha256"] for fold, model in predictions.models.items()} == {"0": "0", "2": "2"}
    assert np.array_equal(predictions.load("a", (32, 48)).dense(), MAPS.dense())


@pytest.mark.parametrize("folds", [(0,), (0, 1), (0, 1, 2)])
def test_other_folds_are_an_error(run: Run, fails: Fails, folds: tuple[int, ...]) -> None:
    with fails("predictions.folds", "models.json"):
        run.read(folds)


@pytest.mark.parametrize("classes", [["Ulna", "Radius"], ["Radius"], ["Radius", "Lunate"]])
def test_other_classes_or_another_order_are_an_error_of_every_model(run: Run, fails: Fails, classes: list[str]) -> None:
    with fails("predictions.classes", "models.json: fold 0", "models.json: fold 2"):
        run.read(classes=classes)


def test_all_missing_files_are_listed(run: Run, fails: Fails) -> None:
    for path in run.files.values():
        path.unlink()
    with fails("predictions.missing", "a.npz", "b.npz") as caught:
        run.read()
    assert len(caught.value.places) == 2


def test_the_file_of_another_sample_is_an_error(run: Run, fails: Fails) -> None:
    """Its shape and its checksums are right, so only the recorded hash tells."""
    other = CroppedMaps.from_dense(MAPS.dense()[::-1])
    other.save(run.files["b"])
    with fails("predictions.changed", "b.npz") as caught:
        run.read()
    assert len(caught.value.places) == 1


def test_a_sample_that_the_record_does_not_have_is_an_error(run: Run, fails: Fails) -> None:
    with fails("predictions.changed", "a.npz"):
        run.read(files=run.files | {"c": run.files["a"]})


def test_other_samples_are_an_error(run: Run, fails: Fails) -> None:
    (run.folder / "index.csv").write_text("other images, which their hashes in the index tell")
    with fails("predictions.tables", "models.json"):
        run.read()


def test_models_of_other_folds_are_an_error(run: Run, fails: Fails) -> None:
    document = read_json(run.record)
    document["models"]["2"]["folds_sha256"] = "that of another table"
    write_json(run.record, document)
    with fails("predictions.other_folds", "models.json: fold 2") as caught:
        run.read()
    assert len(caught.value.places) == 1


@pytest.mark.parametrize("shape", [(48, 32), (32, 40), (64, 48)])
def test_maps_of_an_image_of_another_shape_are_an_error(run: Run, fails: Fails, shape: tuple[int, int]) -> None:
    with fails("predictions.shape", "a.npz"):
        run.read().load("a", shape)


def test_maps_of_another_number_of_classes_are_an_error(run: Run, fails: Fails) -> None:
    predictions = run.read()
    CroppedMaps.from_dense(MAPS.dense()[:1]).save(run.files["a"])
    with fails("predictions.shape", "a.npz"):
        predictions.load("a", (32, 48))


@pytest.mark.parametrize(
    "document",
    [[], {}, {"models": {}}, {"models": {"0": {}}, "tables": {}, "files": {}}, {"models": {"0": {"spec": []}}, "tables": {}, "files": {}}],
)
def test_a_record_of_another_version_is_an_error(run: Run, fails: Fails, document: Any) -> None:
    write_json(run.record, document)
    with fails("predictions.record", "models.json"):
        run.read()


def test_all_kinds_are_reported_together(run: Run) -> None:
    run.files["a"].unlink()
    (run.folder / "index.csv").write_text("other")
    with pytest.raises(UserError) as caught:
        run.read((0,), CLASSES[:1])
    assert caught.value.codes == {"predictions.folds", "predictions.classes", "predictions.tables", "predictions.missing"}


def test_without_a_record_it_says_so(run: Run, fails: Fails) -> None:
    run.record.unlink()
    with fails("stage.input_missing", "models.json"):
        run.read()
