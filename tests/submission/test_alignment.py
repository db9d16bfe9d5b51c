"""Several submissions are read side by side, and differences of their rows are one error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from handbone.submission.alignment import read_aligned
from handbone.submission.csv import SubmissionRow, write_submission
from handbone.utils.errors import UserError

if TYPE_CHECKING:
    from conftest import Fails

ROWS = [(name, label, "") for name in ("x.png", "y.png", "z.png") for label in ("a", "b", "c")]


def write(folder: Path, **files: list[SubmissionRow]) -> list[Path]:
    for name, rows in files.items():
        write_submission(folder / f"{name}.csv", rows)
    return [folder / f"{name}.csv" for name in files]


def test_rows_are_those_of_the_first_file_in_its_order(tmp_path: Path) -> None:
    first = [("y.png", "b", "1 1"), ("y.png", "a", ""), ("x.png", "a", "3 2")]
    second = [("x.png", "a", "9 1"), ("y.png", "a", "5 1 7 1"), ("y.png", "b", "")]
    one, other = read_aligned(write(tmp_path, one=first, other=second)).images()
    assert (one.name, one.classes, other.name, other.classes) == ("y.png", ["b", "a"], "x.png", ["a"])
    assert [masks.areas().tolist() for masks in one.masks] == [[1, 0], [0, 2]]
    assert [masks.intervals.tolist() for masks in other.masks] == [[[2, 4]], [[8, 9]]]


def test_an_image_whose_rows_do_not_follow_each_other_comes_in_parts(tmp_path: Path) -> None:
    rows = [("x.png", "a", ""), ("y.png", "a", ""), ("x.png", "b", "")]
    images = read_aligned(write(tmp_path, one=rows, other=rows)).images()
    assert [(image.name, image.classes) for image in images] == [("x.png", ["a"]), ("y.png", ["a"]), ("x.png", ["b"])]


def test_names_are_compared_as_people_read_them(tmp_path: Path) -> None:
    """macOS stores the letter and its accent apart."""
    one, other = [("\u00e4.png", "\u00e4", "1 1")], [("a\u0308.png", "a\u0308", "1 1")]
    (image,) = read_aligned(write(tmp_path, one=one, other=other)).images()
    assert (image.name, image.classes, [masks.areas().tolist() for masks in image.masks]) == ("\u00e4.png", ["\u00e4"], [[1], [1]])


@pytest.mark.parametrize(
    ("rows", "places"),
    [
        ([row for row in ROWS if row[0] != "y.png"], ["image y.png"]),
        ([row for row in ROWS if row[1] != "c"], ["class c"]),
        ([row for row in ROWS if row != ROWS[4]], ["y.png, b"]),
        (ROWS[:2], ["class c", "image y.png", "image z.png"]),
        ([], ["image x.png", "image y.png", "image z.png"]),
    ],
)
def test_what_a_file_lacks_is_named_as_image_class_or_row(
    tmp_path: Path, fails: Fails, rows: list[SubmissionRow], places: list[str]
) -> None:
    for files in ({"full": ROWS, "less": rows}, {"less": rows, "full": ROWS}):  # the first file is no better than the others
        with fails("submission.rows") as error:
            read_aligned(write(tmp_path, **files))
        assert sorted(error.value.places) == [f"{tmp_path / 'less.csv'}: {place}" for place in places]


def test_equal_gaps_of_many_images_are_one_line_for_each_file(tmp_path: Path) -> None:
    rows = [(f"{index}.png", "a", "") for index in range(300)]
    with pytest.raises(UserError) as error:
        read_aligned(write(tmp_path, full=rows, one=rows[:9], two=rows[5:]))
    assert len(error.value.places) == 291 + 5
    text = str(error.value).splitlines()
    assert len(text) == 3 and "one.csv" in text[1] and "288 more" in text[1] and "two.csv" in text[2]


def test_faults_of_all_files_are_in_one_error(tmp_path: Path) -> None:
    paths = write(tmp_path, good=ROWS, twice=[*ROWS, ROWS[0]])
    (tmp_path / "cut.csv").write_text("image_name,class,rle\nx.png,a,1 2")
    with pytest.raises(UserError) as error:
        read_aligned([*paths, tmp_path / "cut.csv", tmp_path / "none.csv"])
    assert error.value.codes == {"submission.rows", "csv.cut_off", "submission.missing"}
    assert error.value.places == [f"{tmp_path / 'twice.csv'}: line 11", str(tmp_path / "cut.csv"), str(tmp_path / "none.csv")]


def test_files_without_rows_are_an_error(tmp_path: Path, fails: Fails) -> None:
    with fails("submission.rows", "one.csv", "other.csv"):
        read_aligned(write(tmp_path, one=[], other=[]))


def test_invalid_encodings_of_all_images_and_files_are_in_one_error(tmp_path: Path, fails: Fails) -> None:
    bad = [(name, label, "0 1" if (name, label) in {("x.png", "b"), ("z.png", "c")} else "") for name, label, _ in ROWS]
    submissions = read_aligned(write(tmp_path, one=bad, other=bad[::-1]))
    with fails("rle.syntax") as error:
        list(submissions.images())
    lines = {"one": (3, 10), "other": (9, 2)}
    places = [f"{name}.csv: line {lines[name][index]}" for index in range(2) for name in ("one", "other")]
    assert [place.split("/")[-1].rsplit(":", 1)[0] for place in error.value.places] == places
