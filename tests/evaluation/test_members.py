"""A pinned experiment is joined only if its predictions are of the same people, folds and classes, and are as they were pinned."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from handbone.evaluation.members import Ensemble, Stored, maps_of, pinned_file, read_members
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.errors import UserError
from handbone.utils.hashing import file_hash
from handbone.utils.io import write_json

if TYPE_CHECKING:
    from conftest import Fails

CLASSES, KEYS = ["Radius", "Ulna"], ["A/a", "B/b"]
SHAPE = 32, 48


@dataclass
class Experiment:
    """Stored predictions at `size`; the map of a class is filled with the place of its name in `CLASSES`, plus 100."""

    folder: Path
    size: int = 24
    classes: list[str] = field(default_factory=lambda: CLASSES)
    folds: tuple[int, ...] = (0, 1)
    keys: list[str] = field(default_factory=lambda: KEYS)
    folds_text: str = "the folds"
    exclusive: bool | None = False

    @property
    def files(self) -> dict[str, Path]:
        return {key: self.folder / self.name / f"{key}.npz" for key in KEYS}

    @property
    def name(self) -> str:
        return f"at_{self.size}"

    @property
    def pin(self) -> Path:
        return self.folder / f"{self.name}.dvc"

    def write(self) -> Stored:
        """Write tables, predictions, record and pin."""
        for name, text in (("folds.csv", self.folds_text), ("index.csv", "the images")):
            (self.folder / name).write_text(text)
        files = {key: self.folder / self.name / f"{key}.npz" for key in self.keys}
        for file in files.values():
            values = np.array([100 + CLASSES.index(name) if name in CLASSES else 0 for name in self.classes], np.uint8)
            CroppedMaps.from_dense(np.tile(values[:, None, None], (1, self.size * 2 // 3, self.size))).save(file)
        model = {
            "spec": {"classes": self.classes} | ({} if self.exclusive is None else {"exclusive": self.exclusive}),
            "size": self.size,
            "folds_sha256": file_hash(self.folder / "folds.csv"),
        }
        tables = {str(self.folder / name): file_hash(self.folder / name) for name in ("index.csv", "folds.csv")}
        record = self.folder / self.name / "models.json"
        write_json(
            record,
            {
                "models": {str(fold): model for fold in self.folds},
                "tables": tables,
                "files": {key: file_hash(file) for key, file in files.items()},
            },
        )
        meta = {"revision": "r", "commit": "c", "arch": "Unet", "encoder": None, "size": self.size, "window": None}
        self.pin.write_text(yaml.safe_dump({"outs": [], "meta": meta | {"records": {"oof": file_hash(record)}}}))
        return Stored(self.pin, record, self.files)


def read(folder: Path, *stored: Stored, exclusive: bool = False) -> Ensemble:
    (folder / "folds.csv").write_text("the folds")
    tables = [folder / "index.csv", folder / "folds.csv"]
    named = {where.pin.stem: where for where in stored}
    return read_members(named, "oof", [1, 0], CLASSES, tables, tables[1], exclusive)


def test_each_member_has_its_own_size(tmp_path: Path) -> None:
    here = Experiment(tmp_path, size=48).write()
    current = Stored(tmp_path / "current.dvc", here.record, here.files)
    ensemble = read(tmp_path, current, Experiment(tmp_path).write(), Experiment(tmp_path, size=30).write())
    assert list(ensemble.members) == ["current", "at_24", "at_30"]
    assert [maps.shape for maps in ensemble.load("A/a", SHAPE)] == [(32, 48), (16, 24), (20, 30)]
    assert list(ensemble.models) == ["0", "1"] and list(ensemble.pinned()) == ["at_24", "at_30"]
    assert ensemble.pinned()["at_24"]["arch"] == "Unet" and list(ensemble.pinned()["at_24"]["models"]) == ["0", "1"]


def test_the_current_run_may_be_left_out(tmp_path: Path) -> None:
    ensemble = read(tmp_path, Experiment(tmp_path).write())
    assert list(ensemble.members) == ["at_24"] and ensemble.models == {}


def test_another_order_of_the_classes_is_changed_by_name(tmp_path: Path) -> None:
    stored = Experiment(tmp_path, classes=CLASSES[::-1]).write()
    (maps,) = read(tmp_path, stored).load("B/b", SHAPE)
    assert maps.dense()[:, 0, 0].tolist() == [100, 101]
    assert (maps_of(stored.record, stored.files["B/b"], CLASSES).values == maps.values).all()


def test_maps_of_other_classes_are_an_error(tmp_path: Path, fails: Fails) -> None:
    stored = Experiment(tmp_path).write()
    with fails("members.classes", "models.json"):
        maps_of(stored.record, stored.files["B/b"], ["Radius", "Lunate"])


@pytest.mark.parametrize(
    ("changes", "code", "place"),
    [
        ({"classes": ["Radius"]}, "members.classes", "at_24.dvc: fold 1"),
        ({"classes": ["Radius", "Ulna", "Lunate"]}, "members.classes", "at_24.dvc: fold 0"),
        ({"folds": (0,)}, "members.folds", "at_24.dvc"),
        ({"folds": (0, 1, 2)}, "members.folds", "at_24.dvc"),
        ({"folds_text": "other folds"}, "members.other_folds", "at_24.dvc: fold 0"),
        ({"keys": ["A/a"]}, "members.samples", "at_24.dvc: B/b"),
        ({"keys": [*KEYS, "C/c"]}, "members.samples", "at_24.dvc: C/c"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, fails: Fails, changes: dict[str, Any], code: str, place: str) -> None:
    stored = Experiment(tmp_path, **changes).write()
    with fails(code, place):
        read(tmp_path, stored)


def test_the_faults_of_all_members_are_one_error(tmp_path: Path) -> None:
    stored = [Experiment(tmp_path, folds=(0,), classes=["Ulna"]).write(), Experiment(tmp_path, size=30, keys=["A/a"]).write()]
    stored[1].files["A/a"].unlink()
    (tmp_path / "broken.dvc").write_text("outs: []\n")
    with pytest.raises(UserError) as error:
        read(tmp_path, *stored, Stored(tmp_path / "none.dvc", stored[0].record, {}), Stored(tmp_path / "broken.dvc", stored[0].record, {}))
    assert error.value.codes == {f"members.{name}" for name in ("folds", "classes", "samples", "missing", "unknown", "pin")}


def test_everything_that_is_missing_comes_with_the_command_that_brings_it(tmp_path: Path, fails: Fails) -> None:
    stored = Experiment(tmp_path).write()
    stored.files["A/a"].unlink()
    with fails("members.missing", "at_24/A/a.npz") as error:
        read(tmp_path, stored)
    assert len(error.value.problems) == 1
    for path in (stored.record, stored.files["B/b"]):
        path.unlink()
    with fails("members.missing", "models.json", "A/a.npz", "B/b.npz") as error:
        read(tmp_path, stored)
    assert {problem.fix for problem in error.value.problems} == {
        f"run dvc checkout {stored.pin}, or dvc pull {stored.pin} if DVC's cache does not have it"
    }


@pytest.mark.parametrize("changed", ["A/a.npz", "models.json"])
def test_what_is_not_as_pinned_is_refused(tmp_path: Path, fails: Fails, changed: str) -> None:
    stored = Experiment(tmp_path).write()
    with (tmp_path / "at_24" / changed).open("ab") as file:
        file.write(b" ")
    with fails("members.changed", changed) as error:
        read(tmp_path, stored)
    assert error.value.problems[0].fix == f"run dvc checkout --force {stored.pin}"


def test_images_of_another_shape_are_refused(tmp_path: Path, fails: Fails) -> None:
    ensemble = read(tmp_path, Experiment(tmp_path).write())
    with fails("predictions.shape", "A/a.npz") as error:
        ensemble.load("A/a", SHAPE[::-1])
    assert "decide.members" in error.value.problems[0].fix


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_member_whose_classes_exclude_each_other_is_joined_with_its_kind_only(tmp_path: Path, fails: Fails, exclusive: bool) -> None:
    stored = Experiment(tmp_path, exclusive=exclusive).write(), Experiment(tmp_path, size=30, exclusive=not exclusive).write()
    with fails("members.exclusive", "decide.members: at_30") as error:
        read(tmp_path, *stored, exclusive=exclusive)
    (problem,) = error.value.problems
    assert str(exclusive).lower() in problem.expected and str(not exclusive).lower() in problem.found
    assert list(read(tmp_path, stored[0], exclusive=exclusive).members) == ["at_24"]


def test_a_record_that_does_not_say_whether_classes_exclude_each_other_is_of_classes_that_do_not(tmp_path: Path, fails: Fails) -> None:
    """Versions without `data.exclusive` wrote such records."""
    stored = Experiment(tmp_path, exclusive=None).write()
    assert list(read(tmp_path, stored).members) == ["at_24"]
    with fails("members.exclusive", "decide.members: at_24"):
        read(tmp_path, stored, exclusive=True)


def test_a_file_that_a_pin_names_is_there_or_an_error_says_how_to_get_it(tmp_path: Path, fails: Fails) -> None:
    stored = Experiment(tmp_path).write()
    file = stored.files["A/a"]
    assert pinned_file(stored.pin, file) == file
    file.unlink()
    with fails("members.missing", "A/a.npz") as error:
        pinned_file(stored.pin, file)
    assert f"dvc checkout {stored.pin}" in error.value.problems[0].fix
