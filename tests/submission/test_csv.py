"""The CSV as the grader expects it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from handbone.submission.csv import (
    SUBMISSION_COLUMNS,
    SubmissionRow,
    decode_image,
    encodings,
    image_rows,
    read_submission,
    write_submission,
)

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


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'a,b\n"'])
def test_a_file_that_is_no_csv_is_an_error(tmp_path: Path, fails: Fails, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with fails("submission.unreadable", "a.csv"):
        read_submission(tmp_path / "a.csv")


def test_no_file_is_an_error(tmp_path: Path, fails: Fails) -> None:
    with fails("submission.missing", "none.csv"):
        read_submission(tmp_path / "none.csv")


def test_the_encodings_are_found_in_any_order(tmp_path: Path) -> None:
    write_submission(tmp_path / "s.csv", [("b.png", "x", "1 2"), ("a.png", "x", "")])
    assert encodings(tmp_path / "s.csv", [("a.png", "x"), ("b.png", "x")]) == {("a.png", "x"): "", ("b.png", "x"): "1 2"}


@pytest.mark.parametrize("names", [["a.png"], ["a.png", "b.png", "c.png"], ["a.png", "a.png", "b.png"]])
def test_missing_unknown_and_repeated_rows_are_errors(tmp_path: Path, fails: Fails, names: list[str]) -> None:
    write_submission(tmp_path / "s.csv", [(name, "x", "") for name in names])
    with fails("submission.rows", "s.csv"):
        encodings(tmp_path / "s.csv", [("a.png", "x"), ("b.png", "x")])


def test_an_image_is_decoded_class_by_class(tmp_path: Path) -> None:
    masks = decode_image(tmp_path / "s.csv", {("a.png", "x"): "1 2 5 1", ("a.png", "y"): ""}, ("a.png", 2, 3), ["y", "x"])
    assert masks.boxed().dense().astype(int).tolist() == [[[0, 0, 0], [0, 0, 0]], [[1, 1, 0], [0, 1, 0]]]


def test_an_invalid_encoding_names_the_file_and_the_image(tmp_path: Path, fails: Fails) -> None:
    with fails("rle.syntax", "s.csv: a.png"):
        decode_image(tmp_path / "s.csv", {("a.png", "x"): "5 9"}, ("a.png", 2, 3), ["x"])
