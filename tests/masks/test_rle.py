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


@pytest.mark.parametrize(
    "text", ["3", "0 2", "1 0", "1 x", "5 2 1 2", "1 3 2 2", "20 2", "9999999999999999999 1", "1 9223372036854775807", "-1 2"]
)
def test_text_that_encodes_no_mask_of_the_size_is_an_error(text: str, fails) -> None:
    with fails("rle.syntax"):
        decode_runs(["1 1", text], 4, 5)
