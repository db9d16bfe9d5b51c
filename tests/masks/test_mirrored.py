"""Whether a warp mirrors: the sign of its orientation, for matrices and grids."""

import numpy as np
import pytest

from handbone.masks.coverage import OUTSIDE, is_mirrored
from handbone.masks.cropped_maps import CroppedMaps

MATRICES = [
    (np.eye(2, 3), False),
    (np.array([[-1.0, 0, 63], [0, 1, 0]]), True),
    (np.array([[1.0, 0, 0], [0, -1, 63]]), True),
    (np.array([[-1.0, 0, 63], [0, -1, 63]]), False),  # turned by 180 degrees
    (np.array([[0.0, -1, 63], [1, 0, 0]]), False),  # turned by 90
    (np.array([[0.0, 1, 0], [1, 0, 0]]), True),  # transposed
    (np.array([[0.8, 0.3, 5], [-0.2, 1.1, -7]]), False),  # sheared and scaled
]


@pytest.mark.parametrize(("matrix", "mirrored"), MATRICES)
def test_a_matrix_and_its_grid_agree(matrix: np.ndarray, mirrored: bool) -> None:
    rows, columns = np.mgrid[:64, :64]
    grid = (np.stack([columns, rows, np.ones((64, 64))], -1) @ matrix.T).astype(np.float32)
    assert is_mirrored(matrix) == is_mirrored(grid) == mirrored
    grid[:, :30] = 2 * OUTSIDE  # pixels from outside say nothing
    assert is_mirrored(grid) == mirrored


def test_most_pixels_of_a_grid_decide() -> None:
    """As with reflected borders: the middle is as it was, the rim is mirrored."""
    columns = np.abs(np.arange(64) - 20)
    grid = np.stack(np.meshgrid(columns, np.arange(64)), -1).astype(np.float32)
    assert not is_mirrored(grid) and is_mirrored(grid[:, ::-1])
    assert not is_mirrored(np.full((64, 64, 2), 2 * OUTSIDE, np.float32))


def test_maps_in_another_order() -> None:
    dense = np.zeros((3, 4, 5), np.uint8)
    dense[0, 1, 2:], dense[2, :3, 1] = 7, 9
    assert np.array_equal(CroppedMaps.from_dense(dense).reordered([2, 1, 0]).dense(), dense[[2, 1, 0]])
