"""Masks to run-length text and back, as the grader counts: row-major, from 1."""

import itertools

import numpy as np
import pytest

from handbone.masks.boxed import BoxedMasks
from handbone.masks.rle import decode_runs, encode_runs
from handbone.masks.runs import RunLengthMasks


def encode(masks: np.ndarray) -> list[str]:
    return encode_runs(RunLengthMasks.from_boxed(BoxedMasks.from_dense(masks)))


def decode(texts: list[str], height: int, width: int) -> np.ndarray:
    return decode_runs(texts, height, width).boxed().dense()


def competition_encode(mask: np.ndarray) -> str:
    """The competition's encoder."""
    pixels = np.concatenate([[0], mask.flatten(), [0]])
    runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return " ".join(str(x) for x in runs)


def one_pixel(y: int, x: int) -> np.ndarray:
    mask = np.zeros((4, 5), bool)
    mask[y, x] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (np.zeros((4, 5), bool), ""),
        (np.ones((4, 5), bool), "1 20"),
        (one_pixel(0, 0), "1 1"),
        (one_pixel(3, 4), "20 1"),
        (one_pixel(1, 2), "8 1"),
        (one_pixel(0, 4) | one_pixel(1, 0), "5 2"),  # row-major: a run continues in the next row
        (one_pixel(0, 2) | one_pixel(1, 2), "3 1 8 1"),
    ],
)
def test_known_masks(mask: np.ndarray, text: str) -> None:
    assert encode(mask[None]) == [text]
    assert np.array_equal(decode([text], 4, 5)[0], mask)


def test_every_mask_of_3_by_3() -> None:
    masks = np.array(list(itertools.product([False, True], repeat=9))).reshape(-1, 3, 3)
    texts = encode(masks)
    assert texts == [competition_encode(mask) for mask in masks]
    assert np.array_equal(decode(texts, 3, 3), masks)


def test_random_masks() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((29, 67, 41)) < rng.random((29, 1, 1))
    texts = encode(masks)
    assert texts == [competition_encode(mask) for mask in masks]
    assert np.array_equal(decode(texts, 67, 41), masks)


FAULTS = {
    "3": "odd number",
    "1 2 3": "odd number",
    "0 2": "start of 0",
    "1 0": "length of 0",
    "1 x": "something other",
    "nan": "something other",
    "-1 2": "something other",
    "1.0 2": "something other",
    "1\t2": "something other",
    "1 \u0662": "something other",
    "\ud800": "something other",
    "5 2 1 2": "not sorted",
    "1 3 2 2": "overlap",
    "1 3 3 1": "overlap",
    "20 2": "beyond",
    "21 1": "beyond",
    "9999999999999999999 1": "beyond",
    "1 9223372036854775807": "beyond",
    "1 18446744073709551617": "beyond",
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.items())
def test_text_that_encodes_no_mask_of_the_size_is_an_error(text: str, fault: str, fails) -> None:
    with fails("rle.syntax", "mask 1") as error:
        decode_runs(["1 1", text], 4, 5)
    assert fault in error.value.problems[0].found and "empty field" in error.value.problems[0].fix


def test_all_faults_of_an_image_are_listed_with_their_places(fails) -> None:
    with fails("rle.syntax") as error:
        decode_runs(["0 5", "1 1", "nan"], 4, 5, ["line 2", "line 3", "line 4"])
    assert error.value.places == ["line 2", "line 4"]


def test_a_long_field_is_cut_in_the_error(fails) -> None:
    with fails("rle.syntax") as error:
        decode_runs(["1 1 " * 9000 + "x"], 4, 5)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("text", ["1 2 3 1", "1 3", " 1  3 ", "1 1 2 2"])
def test_runs_that_touch_and_more_blanks_are_read(text: str) -> None:
    runs = decode_runs([text], 4, 5)
    assert runs.intervals.tolist() == [[0, 3]] and runs.indptr.tolist() == [0, 1]


def test_a_mask_that_begins_where_the_mask_before_it_ends_is_another_mask() -> None:
    assert decode(["1 3", "4 2", ""], 2, 3).reshape(3, 6).tolist() == [
        [True] * 3 + [False] * 3,
        [False] * 3 + [True] * 2 + [False],
        [False] * 6,
    ]


@pytest.mark.parametrize("text", ["1", "1 2 4", "1 :", ": 1", "1 /"])  # in ASCII the colon follows 9, and the slash precedes 0
def test_a_start_without_length_and_neighbours_of_digits_are_errors(text: str, fails) -> None:
    with fails("rle.syntax"):
        decode_runs([text], 4, 5)
