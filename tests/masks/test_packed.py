"""Masks to one bit per pixel and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks
from handbone.utils.npz import open_npz, write_npz

if TYPE_CHECKING:
    from conftest import Fails


@pytest.mark.parametrize("width", [1, 7, 8, 9, 31, 64])
def test_round_trip_at_any_width(width: int) -> None:
    masks = np.random.default_rng(width).random((5, 11, width)) < 0.4
    masks[1] = False
    masks[2] = True
    packed = PackedMasks.pack(BoxedMasks.from_dense(masks))
    assert np.array_equal(packed.unpack().dense(), masks)


def test_every_row_begins_with_a_new_byte() -> None:
    masks = np.zeros((2, 6, 30), bool)
    masks[0, 1:3, 4:14] = True
    masks[1, 5, 29] = True
    packed = PackedMasks.pack(BoxedMasks.from_dense(masks))
    assert packed.strides().tolist() == [2, 1] and packed.offsets().tolist() == [0, 4, 5]
    assert packed.bits.tolist() == [255, 3, 255, 3, 1]


BOX = np.array([[0, 0, 4, 9]], np.int32)  # two bytes per row


@pytest.mark.parametrize("bits", [np.zeros(7, np.uint8), np.zeros(9, np.uint8), np.zeros(8, np.int8), np.zeros((4, 2), np.uint8)])
def test_bits_that_are_not_as_many_as_the_boxes_need_are_an_error(bits: np.ndarray) -> None:
    PackedMasks((10, 12), BOX, np.zeros(8, np.uint8))
    with pytest.raises(ValueError, match="8 of uint8"):
        PackedMasks((10, 12), BOX, bits)


def test_a_box_outside_of_the_image_is_an_error() -> None:
    with pytest.raises(ValueError, match="inside"):
        PackedMasks((3, 12), BOX, np.zeros(8, np.uint8))


def read(path: Path, shape: tuple[int, int], boxes: np.ndarray, bits: np.ndarray) -> PackedMasks:
    write_npz(path, {"boxes": boxes, "bits": bits})
    with open_npz(path, "cache.corrupt", "again") as arrays:
        return PackedMasks.read(arrays, shape)


def test_masks_are_read_from_a_file(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).random((5, 11, 13)) < 0.4
    masks[1] = False
    packed = PackedMasks.pack(BoxedMasks.from_dense(masks))
    found = read(tmp_path / "a.npz", packed.shape, packed.boxes, packed.bits)
    assert np.array_equal(found.unpack().dense(), masks)


@pytest.mark.parametrize(
    ("shape", "boxes", "bits"),
    [
        ((10, 12), BOX, [0] * 7),
        ((10, 12), BOX, [0] * 9),
        ((3, 12), BOX, [0] * 8),
        ((10, 8), BOX, [0] * 8),
        ((10, 12), BOX, [0, 2] + [0] * 6),
        ((10, 12), BOX, [0] * 7 + [128]),
        ((10, 12), BOX.astype(np.int64), [0] * 8),
        ((10, 12), BOX[:, :3], [0] * 8),
    ],
)
def test_a_file_that_fits_no_image_is_an_error(
    tmp_path: Path, fails: Fails, shape: tuple[int, int], boxes: np.ndarray, bits: list[int]
) -> None:
    """Also bits behind the end of a row: they would become pixels of other rows."""
    with fails("cache.corrupt", "a.npz"):
        read(tmp_path / "a.npz", shape, boxes, np.array(bits, np.uint8))


def test_boxes_without_width_or_height_need_no_bits(tmp_path: Path) -> None:
    boxes = np.array([[0, 0, 4, 0], [0, 0, 0, 4], [0, 0, 0, 0]], np.int32)
    found = read(tmp_path / "a.npz", (10, 12), boxes, np.zeros(0, np.uint8))
    assert found.unpack().areas().tolist() == [0, 0, 0]
