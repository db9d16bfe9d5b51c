"""Masks to one bit per pixel and back."""

import numpy as np
import pytest

from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks


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
