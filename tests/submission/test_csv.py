"""The CSV as the grader expects it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from handbone.config.params import SubmissionParams
from handbone.masks.boxed import BoxedMasks
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import (
    SUBMISSION_COLUMNS,
    SubmissionRow,
    encode_masks,
    image_rows,
    read_submission,
    submitted_masks,
    write_submission,
)
from handbone.submission.csv import test_images as read_images
from handbone.utils.errors import UserError

if TYPE_CHECKING:
    from conftest import Fails


def test_format_and_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    rows = image_rows("b.png", ["x", "NA"], ["1 2", ""]) + image_rows("a.png", ["x", "NA"], ["", "3 4 9 1"])
    write_submission(path, rows)
    assert path.read_bytes() == b"image_name,class,rle\nb.png,x,1 2\nb.png,NA,\na.png,x,\na.png,NA,3 4 9 1\n"
    table = read_submission(path)
    assert table["rle"].tolist() == ["1 2", "", "", "3 4 9 1"] and table["class"].tolist() == ["x", "NA", "x", "NA"]


def test_bytes_are_those_that_pandas_writes_for_any_names(tmp_path: Path) -> None:
    rows = image_rows('a,"b".png', ["x, y", 'say "z"', "two\nlines", " blank ", "Ä"], ["1 2", "", "3 1", "4 1", "5 1"])
    write_submission(tmp_path / "ours.csv", rows)
    pd.DataFrame(rows, columns=SUBMISSION_COLUMNS).to_csv(tmp_path / "pandas.csv", index=False, lineterminator="\n")
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "pandas.csv").read_bytes()
    assert list(read_submission(tmp_path / "ours.csv").itertuples(index=False, name=None)) == rows


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    def rows() -> Iterator[SubmissionRow]:
        yield "a.png", "x", "1 2"
        raise KeyboardInterrupt

    path = tmp_path / "s.csv"
    write_submission(path, [("b.png", "x", "")])
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_submission(path, rows())
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_link_into_a_cache_is_replaced_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "cached").write_text("old")
    (tmp_path / "s.csv").symlink_to(tmp_path / "cached")
    write_submission(tmp_path / "s.csv", [("b.png", "x", "")])
    assert (tmp_path / "cached").read_text() == "old" and not (tmp_path / "s.csv").is_symlink()


def test_other_columns_are_an_error(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "a.csv").write_text("id,rle\n1,\n")
    with fails("submission.columns", "a.csv"):
        read_submission(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "csv.empty"),
        (b"\xff\xfe\x00", "csv.encoding"),
        (b'a,b\n"\n', "csv.quotes"),
        (b"image_name,class,rle\na.png,x,1 2", "csv.cut_off"),
    ],
)
def test_a_file_that_is_no_whole_csv_is_an_error(tmp_path: Path, fails: Fails, content: bytes, code: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with fails(code, "a.csv"):
        read_submission(tmp_path / "a.csv")


def test_no_file_is_an_error(tmp_path: Path, fails: Fails) -> None:
    with fails("submission.missing", "none.csv"):
        read_submission(tmp_path / "none.csv")


IMAGES = {"B/b": ("b.png", 2, 3), "A/a": ("a.png", 2, 3)}


def test_rows_are_found_in_any_order(tmp_path: Path) -> None:
    write_submission(tmp_path / "s.csv", [("a.png", "y", ""), ("b.png", "x", "1 1"), ("a.png", "x", "1 2 5 1"), ("b.png", "y", "6 1")])
    masks = submitted_masks(tmp_path / "s.csv", IMAGES, ["y", "x"])
    assert list(masks) == ["B/b", "A/a"]
    assert masks["A/a"].boxed().dense().astype(int).tolist() == [[[0, 0, 0], [0, 0, 0]], [[1, 1, 0], [0, 1, 0]]]
    assert masks["B/b"].boxed().dense().astype(int).tolist() == [[[0, 0, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 0]]]


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (["a.png"], ["s.csv: b.png, x"]),
        (["a.png", "b.png", "c.png"], ["s.csv: line 4"]),
        (["a.png", "a.png", "b.png"], ["s.csv: line 3"]),
        (["c.png", "a.png", "a.png"], ["s.csv: line 2", "s.csv: line 4", "s.csv: b.png, x"]),
    ],
)
def test_missing_unknown_and_repeated_rows_are_errors(tmp_path: Path, fails: Fails, names: list[str], places: list[str]) -> None:
    write_submission(tmp_path / "s.csv", [(name, "x", "") for name in names])
    with fails("submission.rows", *places) as error:
        submitted_masks(tmp_path / "s.csv", IMAGES, ["x"])
    assert len(error.value.places) == len(places)


def test_names_are_compared_as_people_read_them(tmp_path: Path) -> None:
    """macOS stores the letter and its accent apart."""
    composed, decomposed = "\u00e4.png", "a\u0308.png"
    write_submission(tmp_path / "s.csv", [(decomposed, "x", "1 1")])
    assert submitted_masks(tmp_path / "s.csv", {"A/a": (composed, 2, 3)}, ["x"])["A/a"].areas().tolist() == [1]


def test_all_invalid_encodings_name_the_line_the_image_and_the_class(tmp_path: Path, fails: Fails) -> None:
    write_submission(tmp_path / "s.csv", [("b.png", "x", "nan"), ("b.png", "y", "1 2"), ("a.png", "x", "5 9"), ("a.png", "y", "1")])
    with fails("rle.syntax", "s.csv: line 2: b.png, x", "s.csv: line 4: a.png, x", "s.csv: line 5: a.png, y") as error:
        submitted_masks(tmp_path / "s.csv", IMAGES, ["x", "y"])
    assert len(error.value.places) == 3


def test_wrong_rows_and_invalid_encodings_are_in_one_error(tmp_path: Path) -> None:
    write_submission(tmp_path / "s.csv", [("b.png", "x", "0 1"), ("c.png", "x", "")])
    with pytest.raises(UserError) as error:
        submitted_masks(tmp_path / "s.csv", IMAGES, ["x"])
    assert error.value.places == [
        f"{tmp_path / 's.csv'}: line 3",
        f"{tmp_path / 's.csv'}: a.png, x",
        f"{tmp_path / 's.csv'}: line 2: b.png, x",
    ]


def test_rows_that_end_in_a_comma_are_one_short_error(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "s.csv").write_text("image_name,class,rle\n" + f"a.png,x,{'1 1 ' * 9000},\n" * 800)
    with fails("csv.fields", "s.csv: line 2", "s.csv: line 801") as error:
        submitted_masks(tmp_path / "s.csv", IMAGES, ["x"])
    assert len(str(error.value)) < 1000 and "4 fields" in str(error.value) and "3 fields" in str(error.value)


@pytest.mark.parametrize("size", ["0,3", "2,-3", "2.5,3", "2,65537"])
def test_a_size_of_a_test_image_that_is_none_is_an_error(tmp_path: Path, fails: Fails, size: str) -> None:
    (tmp_path / "index.csv").write_text(f"key,image_name,height,width\nA/a,a.png,{size}\nB/b,b.png,2,3\n")
    with fails("index.size", "index.csv: A/a") as error:
        read_images(tmp_path / "index.csv")
    assert len(error.value.places) == 1


def test_the_name_of_another_image_is_an_error(tmp_path: Path, fails: Fails) -> None:
    """With swapped names, each image would get the masks of the other."""
    (tmp_path / "index.csv").write_text("key,image_name,height,width\nA/a,b.png,2,3\nA/b,a.png,2,3\nA/c.d,c.d.png,2,3\n")
    with fails("index.name", "index.csv: A/a", "index.csv: A/b") as error:
        read_images(tmp_path / "index.csv")
    assert len(error.value.places) == 2


def test_the_test_images_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("key,image_name,height,width\nB/007,007.png,2,3\nA/a,a.png,1,65536\n")
    assert read_images(tmp_path / "index.csv") == {"B/007": ("007.png", 2, 3), "A/a": ("a.png", 1, 65536)}


FORMS = {
    "competition": {},
    "names": {"columns": ["ImageId", "organ, side", "EncodedPixels"]},
    "columns from 0": {"order": "column", "base": 0},
    "columns, -1 for none": {"order": "column", "empty": "-1"},
    "0 and text for none": {"base": 0, "empty": "none"},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_masks_survive_every_format(tmp_path: Path, form: dict[str, Any]) -> None:
    section = SubmissionParams(**form)
    masks = np.random.default_rng(0).random((2, 2, 2, 3)) < 0.5  # of images a and b
    masks[1, 0] = False
    rows = [
        row
        for (name, _, _), of_image in zip(IMAGES.values(), masks, strict=True)
        for row in image_rows(name, ["x", "y"], encode_masks(RunLengthMasks.from_boxed(BoxedMasks.from_dense(of_image)), section))
    ]
    write_submission(tmp_path / "s.csv", rows, section)
    found = submitted_masks(tmp_path / "s.csv", IMAGES, ["x", "y"], section)
    assert [np.array_equal(found[key].boxed().dense(), of_image) for key, of_image in zip(IMAGES, masks, strict=True)] == [True, True]
    if form:
        with pytest.raises(UserError):
            submitted_masks(tmp_path / "s.csv", {key: (name, 1, 1) for key, (name, _, _) in IMAGES.items()}, ["x", "y"])


@pytest.mark.parametrize("text", ["x 1", "1 x", "-1 1", "0", "0 9", "1.5 1", "\u00b2 1", f"{'9' * 30} 1", f"{'9' * 9999} 1"])
def test_an_encoding_that_is_none_names_its_line_also_if_pixels_count_from_0(tmp_path: Path, fails: Fails, text: str) -> None:
    (tmp_path / "s.csv").write_text(f"image_name,class,rle\nb.png,x,{text}\na.png,x,0 6\n", encoding="utf-8")
    with fails("rle.syntax", "s.csv: line 2: b.png, x") as error:
        submitted_masks(tmp_path / "s.csv", IMAGES, ["x"], SubmissionParams(base=0))
    assert len(error.value.places) == 1


def test_a_format_is_written_as_it_says(tmp_path: Path) -> None:
    """The mask of three pixels of a 2 x 3 image: two in the first column, one in the second row of the second."""
    pixels = np.array([[[1, 0, 0], [1, 1, 0]], [[0, 0, 0], [0, 0, 0]]], bool)
    masks = RunLengthMasks.from_boxed(BoxedMasks.from_dense(pixels))
    for form, lines in (
        ({}, "image_name,class,rle\nb.png,x,1 1 4 2\nb.png,y,\n"),
        ({"columns": ["i", "c", "r"], "order": "column", "base": 0, "empty": "-1"}, "i,c,r\nb.png,x,0 2 3 1\nb.png,y,-1\n"),
    ):
        section = SubmissionParams(**form)
        write_submission(tmp_path / "s.csv", image_rows("b.png", ["x", "y"], encode_masks(masks, section)), section)
        assert (tmp_path / "s.csv").read_text() == lines
