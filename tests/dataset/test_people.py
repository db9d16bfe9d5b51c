"""The table of people, and every fault of it."""

import os
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from conftest import Fails
from handbone.dataset.people import people_faults, read_people, with_attributes
from handbone.utils.errors import UserError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Where the table of the data set `tmp_path` belongs."""
    (tmp_path / "train").mkdir()
    return tmp_path / "train/people.csv"


def test_without_a_table_no_attribute_is_known(tmp_path: Path, table: Path) -> None:
    assert read_people(tmp_path) == {}


def test_attributes_are_text_and_spaces_around_them_do_not_count(tmp_path: Path, table: Path) -> None:
    text = "\ufeffwrist, person ,age\r\n bent,ID001,007\r\n,,\r\n\r\n,ID099,NA\r\n"
    table.write_text(text, encoding="utf-8")
    assert read_people(tmp_path) == {"wrist": {"ID001": "bent", "ID099": ""}, "age": {"ID001": "007", "ID099": "NA"}}


def test_a_table_without_people_has_its_attributes(tmp_path: Path, table: Path) -> None:
    table.write_text("person,sex\n")
    assert read_people(tmp_path) == {"sex": {}}


@pytest.mark.parametrize("both", [False, True])
def test_a_table_at_the_root_is_refused_because_dvc_does_not_see_it(tmp_path: Path, table: Path, fails: Fails, both: bool) -> None:
    (tmp_path / "people.csv").write_text("person,sex\nID001,f\n")
    if both:
        table.write_text("person,sex\nID001,f\n")
    with fails("people.place", str(tmp_path / "people.csv")) as error:
        read_people(tmp_path)
    assert str(table) in error.value.problems[0].fix and str(tmp_path / "people.csv") in error.value.problems[0].fix


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ["people.column: the first row"]),
        (b"Person,sex\nID001,f\n", ["people.column: the first row"]),
        (b"person,sex\nID001,f\nID002,m\nID001,f\n", ["people.person_twice: lines 2, 4"]),
        (b"person,,sex\nID001,a,f\n", ["people.column_name: column 2"]),
        (b"person,sex,sex\nID001,f,f\n", ["people.column_twice: the first row"]),
        (
            b"person,sex\nID001\nID002,m,x\n,f\n",
            ["people.row_length: line 2", "people.row_length: line 3", "people.no_person: line 4"],
        ),
        (
            b"person,,\nID001,a,b\nID001,c,d\n",
            ["people.column_name: column 2", "people.column_name: column 3", "people.person_twice: lines 2, 3"],
        ),
        ("person,sex\nID001,f\nID002,여\n".encode("cp949"), ["people.csv: line 3"]),
        ("person,sex\nID001,f\n".encode("utf-16"), ["people.csv: line 1"]),
        (b'person,sex\nID001,"f\n', ["people.csv: line 2"]),
        (b"person,sex\nID001,f\nID002,", ["people.cut_off: line 3"]),
        (b"person,sex\nID001,f", ["people.cut_off: line 2"]),
    ],
)
def test_every_fault_of_the_table_is_in_one_error(tmp_path: Path, table: Path, content: bytes, expected: list[str]) -> None:
    table.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_people(tmp_path)
    places = [place.removeprefix(f"{table}").removeprefix(": ") for place in error.value.places]
    assert [f"{problem.code}: {place}" for problem, place in zip(error.value.problems, places, strict=True)] == expected


@pytest.mark.parametrize(
    ("names", "errors", "warnings"),
    [
        (["ID001"], [], []),
        (["ID001", "ID777"], [], []),
        (["ID003"], [], ["people.no_training_person"]),
        (["1", "2"], ["people.nobody"], []),
        (["id001"], ["people.nobody"], []),
        ([], [], []),
    ],
)
def test_a_table_that_fits_nobody_is_an_error(tmp_path: Path, names: list[str], errors: list[str], warnings: list[str]) -> None:
    found = people_faults(tmp_path, {"sex": dict.fromkeys(names, "f")}, {"ID001", "ID002"}, {"ID003"})
    assert [[problem.code for problem in problems] for problems in found] == [errors, warnings]
    for problem in found[0]:
        assert all(name in problem.found for name in (names[0], "ID001", "ID003"))


def test_people_are_compared_in_composed_form() -> None:
    name = unicodedata.normalize("NFD", "홍길동")
    index = pd.DataFrame({"person": [name, "ID001"]})
    assert with_attributes(index, {"sex": {"홍길동": "m"}})["person_sex"].tolist() == ["m", ""]


def test_a_named_pipe_does_not_wait_for_ever(tmp_path: Path, table: Path, fails: Fails) -> None:
    os.mkfifo(table)
    with fails("people.csv", str(table)):
        read_people(tmp_path)
