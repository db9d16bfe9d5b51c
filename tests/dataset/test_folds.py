"""The table of folds: every training image once, no person in two folds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from handbone.dataset.folds import read_folds
from handbone.utils.errors import UserError

if TYPE_CHECKING:
    from conftest import Fails

INDEX = "key,person\nA/1,A\nA/2,A\nB/1,B\nC/1,C\n"
FOLDS = "key,person,fold\nA/1,A,0\nA/2,A,0\nB/1,B,1\nC/1,C,2\n"


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "folds.csv").write_text(FOLDS)
    (tmp_path / "index.csv").write_text(INDEX)
    return tmp_path / "folds.csv", tmp_path / "index.csv"


@pytest.mark.parametrize("n_folds", [None, 3])
def test_a_sound_table_is_read_in_its_order(tables: tuple[Path, Path], n_folds: int | None) -> None:
    found = read_folds(*tables, [0, 2], n_folds)
    assert found["key"].tolist() == ["A/1", "A/2", "B/1", "C/1"] and found["fold"].tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("old", "new", "code", "place"),
    [
        ("A/2,A,0", "A/2,A,1", "folds.person_twice", "folds.csv: A"),
        ("B/1,B,1\n", "", "folds.missing", "folds.csv: B/1"),
        ("C/1,C,2\n", "C/1,C,2\nD/1,D,2\n", "folds.unknown", "folds.csv: D/1"),
        ("B/1,B,1", "B/1,C,2", "folds.person", "folds.csv: B/1"),
        ("C/1,C,2", "C/1,C,3", "folds.number", "folds.csv: C/1"),
        ("C/1,C,2", "C/1,C,-1", "folds.number", "folds.csv: C/1"),
        ("C/1,C,2", "C/1,C,1.5", "folds.number", "folds.csv: C/1"),
        ("C/1,C,2", "C/1,C,nan", "csv.number", "line 5, column fold"),
        ("C/1,C,2", "B/1,B,1", "csv.repeated", "line 5"),
        ("C/1,C,2", "C/1,C", "csv.fields", "line 5"),
        ("person,fold", "person,flod", "csv.columns", "line 1"),
    ],
)
def test_a_table_changed_by_hand_is_an_error(tables: tuple[Path, Path], fails: Fails, old: str, new: str, code: str, place: str) -> None:
    assert old in FOLDS
    tables[0].write_text(FOLDS.replace(old, new))
    with fails(code, place):
        read_folds(*tables, [0], 3)


def test_a_fold_without_images_is_an_error(tables: tuple[Path, Path], fails: Fails) -> None:
    with fails("folds.empty", "params.yaml: folds: 4") as error:
        read_folds(*tables, [0, 4])
    assert len(error.value.places) == 1


def test_all_faults_are_in_one_error(tables: tuple[Path, Path]) -> None:
    tables[0].write_text(FOLDS.replace("A/2,A,0", "A/2,A,1").replace("B/1,B,1\n", ""))
    with pytest.raises(UserError) as error:
        read_folds(*tables, [0, 4])
    assert sorted(problem.code for problem in error.value.problems) == ["folds.empty", "folds.missing", "folds.person_twice"]
