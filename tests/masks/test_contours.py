"""Any mask becomes polygons that are painted as exactly this mask."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from handbone.masks.contours import exact_polygons
from handbone.masks.rasterize import rasterize


def painted(mask: np.ndarray) -> np.ndarray:
    return rasterize([exact_polygons(mask)], (mask.shape[0], mask.shape[1])).dense()[0]


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=14)), st.integers(1, 3))
@settings(deadline=None, max_examples=200)
def test_the_polygons_are_painted_as_the_mask(mask: np.ndarray, scale: int) -> None:
    mask = np.kron(mask, np.ones((scale, scale), bool))
    assert np.array_equal(painted(mask), mask)


def test_nested_rings_diagonals_and_single_pixels() -> None:
    mask = np.zeros((40, 60), bool)
    mask[2:38, 2:38] = True
    mask[5:35, 5:35] = False
    mask[8:32, 8:32] = True
    mask[10:12, 10:12] = mask[20, 20] = mask[28:30, 12] = False
    mask[range(10, 30), range(39, 59)] = True
    mask[0, 0] = mask[39, 59] = True
    assert np.array_equal(painted(mask), mask)


def test_an_outline_without_holes_is_one_polygon_and_one_cut_opens_holes_side_by_side() -> None:
    mask = np.zeros((20, 40), bool)
    mask[2:18, 2:38] = True
    assert len(exact_polygons(mask)) == 1
    mask[8:12, 5:9] = mask[9:13, 20:24] = False
    assert len(exact_polygons(mask)) == 2
    assert exact_polygons(np.zeros((3, 3), bool)) == []
