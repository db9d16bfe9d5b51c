"""Run-length encodings in a CSV: all orders, bases and shapes of the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from formats.pictures import write_picture
from handbone.formats.labels import ReadOptions, mask_pixels
from handbone.formats.rle_csv import decode, read_rle_csv

if TYPE_CHECKING:
    from conftest import Fails

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))
LINE = "image,class,rle\nx,a,1 2 5 1\n"


def encode(mask: np.ndarray, by_column: bool, first: int) -> str:
    """As kernels of competitions do it."""
    flat = np.concatenate([[0], mask.T.ravel() if by_column else mask.ravel(), [0]]).astype(int)
    edges = np.flatnonzero(np.diff(flat))
    return " ".join(f"{start + first} {end - start}" for start, end in zip(edges[::2], edges[1::2], strict=True))


@given(MASKS, st.booleans(), st.integers(0, 1))
@settings(deadline=None)
def test_every_order_and_base_is_decoded(mask: np.ndarray, by_column: bool, first: int) -> None:
    assert np.array_equal(decode(encode(mask, by_column, first), mask.shape, by_column, first, ""), mask)


def write(folder: Path, text: str) -> Path:
    for name in ("x", "y"):
        write_picture(folder / f"images/{name}.jpg", 4, 5)
    (folder / "train.csv").write_text(text)
    return folder / "train.csv"


def test_a_long_table(tmp_path: Path) -> None:
    """Rows of one image and class are united; no mask is an empty field, -1 or nan; names have a suffix or none."""
    text = "ImageId,organ,Encoded,patient\nx.jpg,b,1 2,P1\nx.jpg,b,4 1,P1\nx.jpg,a,,P1\ny,a,-1,P2\ny,b,19 2,P2\n"
    columns = {"image": "ImageId", "class": "organ", "rle": "Encoded"}
    labels = read_rle_csv(write(tmp_path, text), ReadOptions(tmp_path / "images", columns=columns))
    first, second = labels.images
    assert labels.classes == ["b", "a"]
    assert (first.name, first.size, first.fields["patient"]) == ("x.jpg", (4, 5), "P1")
    assert np.argwhere(mask_pixels(first.annotations[0], "")).tolist() == [[0, 0], [1, 0], [3, 0]]
    assert np.argwhere(mask_pixels(second.annotations[0], "")).tolist() == [[2, 4], [3, 4]]
    assert [len(image.annotations) for image in labels.images] == [1, 1]


def test_a_wide_table_and_one_without_classes(tmp_path: Path) -> None:
    source = write(tmp_path, "id,a,b,other\nx,0 1,,\ny,3 2,1 1,\n")
    options = ReadOptions(tmp_path / "images", columns={"image": "id"}, by_column=False, first=0, wide=["a", "b"])
    labels = read_rle_csv(source, options)
    assert labels.classes == ["a", "b"]
    assert [[one["label"] for one in image.annotations] for image in labels.images] == [["a"], ["a", "b"]]
    assert np.argwhere(mask_pixels(labels.images[1].annotations[0], "")).tolist() == [[0, 3], [0, 4]]
    source.write_text("image,rle\nx,1 1\n")
    assert read_rle_csv(source, ReadOptions(tmp_path / "images", label="lung")).classes == ["lung"]


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("image,class\nx,a\n", "import.column", "train.csv"),
        ("image,class,rle\nx,a,1 1\nz,a,1 1\n", "import.picture", "line 3"),
        ("image,class,rle\nx,a,1 21\n", "rle.syntax", "line 2"),
        ("image,class,rle\nx,a,1 2 2 2\n", "rle.syntax", "line 2"),
        ("image,class,rle\nx,a,1\n", "rle.syntax", "line 2"),
        ("image,class,rle\nx,a,one\n", "rle.syntax", "line 2"),
        ("image,class,rle\nx,a\n", "csv.fields", "line 2"),
        ("", "csv.empty", "train.csv"),
        ('{"shapes": []}\n', "import.format", "train.csv"),
    ],
)
def test_a_bad_table_is_an_error(tmp_path: Path, text: str, code: str, place: str, fails: Fails) -> None:
    with fails(code, place):
        read_rle_csv(write(tmp_path, text), ReadOptions(tmp_path / "images"))


def test_a_start_of_0_needs_base_0(tmp_path: Path, fails: Fails) -> None:
    source = write(tmp_path, "image,class,rle\nx,a,0 1\n")
    assert read_rle_csv(source, ReadOptions(tmp_path / "images", first=0)).images
    with fails("rle.syntax", "line 2"):
        read_rle_csv(source, ReadOptions(tmp_path / "images"))
