"""Coverage equals the plain computation: every sample point of every pixel mapped back and looked up in dense masks."""

import numpy as np
import pytest

from handbone.masks.boxed import BoxedMasks
from handbone.masks.coverage import InverseWarp, coverage, supersampling
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks


def blobs(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Empty, full, single pixels in the corners, a thin line, noise, and rectangles large enough for tiles that are full."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((9, height, width), bool)
    masks[1] = True
    masks[2, 0, 0] = masks[2, -1, -1] = masks[2, 0, -1] = masks[2, -1, 0] = True
    masks[3, height // 2] = True
    masks[4] = rng.random((height, width)) < 0.5
    for mask in masks[5:]:
        y, x = rng.integers(0, height // 2), rng.integers(0, width // 2)
        mask[y : y + height // 2, x : x + width // 3] = True
        mask[y + height // 8, x + 3] = False
    return masks


def packed(masks: np.ndarray) -> PackedMasks:
    return PackedMasks.pack(BoxedMasks.from_dense(masks))


def plain(masks: np.ndarray, x: np.ndarray, y: np.ndarray, step_x: np.ndarray, step_y: np.ndarray, points: int) -> np.ndarray:
    """Centres (h, w) at full resolution and the steps to the neighbours -> (C, h, w) uint8."""
    inside = np.zeros((len(masks), *x.shape), np.int64)
    offsets = 1 / points / 2 - 0.5 + np.arange(points) * (1 / points)
    for below in offsets:
        for beside in offsets:
            at_x = x + step_y[0] * below + step_x[0] * beside
            at_y = y + step_y[1] * below + step_x[1] * beside
            valid = (at_x >= 0) & (at_x < masks.shape[2]) & (at_y >= 0) & (at_y < masks.shape[1])
            inside += masks[:, np.where(valid, at_y, 0).astype(int), np.where(valid, at_x, 0).astype(int)] & valid
    return (2 * 255 * inside + points * points) // (2 * points * points)


def plain_affine(masks: np.ndarray, shape: tuple[int, int], inverse_warp: np.ndarray) -> np.ndarray:
    scale = np.array([masks.shape[2] / shape[1], masks.shape[1] / shape[0]])
    matrix = (inverse_warp + np.array([0, 0, 0.5])) * scale[:, None]
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    x, y = (row[0] * columns + row[1] * rows + row[2] for row in matrix)
    return plain(masks, x, y, matrix[:, 0], matrix[:, 1], supersampling(masks.shape[1:], shape))


def turn(degrees: float, scale: float, shift: tuple[float, float], mirrored: bool, shape: tuple[int, int]) -> np.ndarray:
    """The inverse warp of a rotation, zoom, mirror and shift about the image's centre."""
    angle = np.deg2rad(degrees)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([-1 if mirrored else 1, 1])
    centre = (np.array(shape[::-1]) - 1) / 2
    return np.column_stack([rotation, centre + shift - rotation @ centre])


def grid_of(inverse_warp: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (np.stack([columns, rows, np.ones(shape)], -1) @ inverse_warp.T).astype(np.float32)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
def test_without_a_warp_it_is_the_area_average(factor: int) -> None:
    masks = blobs(24 * factor, 36 * factor)
    average = masks.reshape(9, 24, factor, 36, factor).mean((2, 4))
    assert np.abs(coverage(packed(masks), (24, 36)).dense() / 255 - average).max() <= 0.5 / 255 + 1e-9


@pytest.mark.parametrize("shape", [(36, 48), (35, 47), (64, 40)])
def test_at_other_ratios_it_is_near_the_area_average(shape: tuple[int, int]) -> None:
    """As near as 4 x 4 sample points or more can be: one point in 16 more or less along each border of the mask."""
    masks = blobs(90, 120)[5:]
    fine = masks.repeat(shape[0], 1).repeat(shape[1], 2)
    average = fine.reshape(-1, shape[0], 90, shape[1], 120).mean((2, 4))
    error = np.abs(coverage(packed(masks), shape).dense() / 255 - average)
    assert error.max() < 0.3
    assert error[(average > 0) & (average < 1)].mean() < 0.07


@pytest.mark.parametrize("shape", [(32, 48), (64, 96), (30, 44), (128, 192), (7, 5)])
@pytest.mark.parametrize("seed", range(4))
def test_affine_warps_equal_the_plain_computation(shape: tuple[int, int], seed: int) -> None:
    """Skipping tiles, boxes and rows changes no value: rotations, zooms, mirrors, shifts that leave the image."""
    rng = np.random.default_rng(seed)
    masks = blobs(128, 192, seed)
    inverse_warp = turn(rng.uniform(-180, 180), rng.uniform(0.4, 2.5), tuple(rng.uniform(-20, 20, 2)), bool(seed % 2), shape)
    assert np.array_equal(coverage(packed(masks), shape, inverse_warp).dense(), plain_affine(masks, shape, inverse_warp))


@pytest.mark.parametrize("inverse_warp", [np.array([[-1.0, 0, 47], [0, 1, 0]]), np.array([[-1.0, 0, 47], [0, -1, 31]])])
def test_flips_are_exact(inverse_warp: np.ndarray) -> None:
    masks = blobs(128, 192)
    still = coverage(packed(masks), (32, 48)).dense()
    moved = coverage(packed(masks), (32, 48), inverse_warp).dense()
    assert np.array_equal(moved, still[:, :: int(inverse_warp[1, 1]), ::-1])


def test_a_warp_out_of_the_image_leaves_nothing() -> None:
    found = coverage(packed(blobs(64, 64)), (32, 32), np.array([[1.0, 0, 500], [0, 1, 0]]))
    assert not found.boxes.any() and not len(found.values)


@pytest.mark.parametrize("seed", range(4))
def test_a_grid_that_is_affine_agrees_with_the_matrix(seed: int) -> None:
    """Within the precision of float32: one point in a hundred thousand falls on the other side of a pixel's edge."""
    rng = np.random.default_rng(seed)
    shape, masks = (64, 96), blobs(256, 384, seed)
    inverse_warp = turn(rng.uniform(-40, 40), rng.uniform(0.8, 1.2), tuple(rng.uniform(-9, 9, 2)), bool(seed % 2), shape)
    by_matrix = coverage(packed(masks), shape, inverse_warp).dense().astype(int)
    by_grid = coverage(packed(masks), shape, grid_of(inverse_warp, shape)).dense().astype(int)
    difference = np.abs(by_matrix - by_grid)
    assert difference.max() <= 2 * 16 and (difference > 0).mean() < 1e-3


def test_a_curved_grid_equals_the_plain_computation() -> None:
    """Compared away from the border, where the differences to both neighbours are equal within the precision of float32."""
    shape, masks = (64, 96), blobs(256, 384)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    bent = np.stack([columns + 3 * np.sin(rows / 9), rows + 2 * np.cos(columns / 11)], -1).astype(np.float32)
    found = coverage(packed(masks), shape, bent).dense()
    x, y = ((bent[..., axis].astype(float) + 0.5) * 4 for axis in (0, 1))
    step_x = [np.gradient(x, axis=1), np.gradient(y, axis=1)]
    step_y = [np.gradient(x, axis=0), np.gradient(y, axis=0)]
    expected = plain(masks, x, y, step_x, step_y, 4)
    difference = np.abs(found.astype(int) - expected)[:, 2:-2, 2:-2]
    assert np.quantile(difference, 0.99) <= 16 and difference.mean() < 1


@pytest.mark.parametrize("outside", [False, True])
def test_what_only_the_outer_half_of_a_border_pixel_reaches_is_covered(outside: bool) -> None:
    """Beside the border, and beside pixels that come from outside, a pixel reaches farther than all centres of its tile."""
    shape, masks = (32, 48), np.zeros((4, 128, 192), bool)
    first = 40 if outside else 0  # rows and columns that come from outside end before it
    masks[0, first], masks[1, -1], masks[2, :, first], masks[3, :, -1] = True, True, True, True
    masks[:, :first] = masks[:, :, :first] = False
    grid = grid_of(np.eye(2, 3), shape)
    grid[: first // 4] = grid[:, : first // 4] = -1e6
    expected = coverage(packed(masks), shape).dense()
    assert expected.any((1, 2)).all()
    assert np.array_equal(coverage(packed(masks), shape, grid).dense(), expected)


def test_a_pixel_from_outside_is_not_covered() -> None:
    shape, masks = (32, 48), np.ones((1, 64, 96), bool)
    grid = grid_of(np.eye(2, 3), shape)
    grid[:, :10] = -1e6
    found = coverage(packed(masks), shape, grid).dense()[0]
    assert not found[:, :10].any() and (found[:, 10:] == 255).all()


def test_at_a_seam_each_pixel_follows_the_side_it_is_on() -> None:
    """Two halves that swap places: a central difference across the seam would blur them."""
    shape, masks = (32, 48), np.zeros((1, 64, 96), bool)
    masks[0, :, :48] = True
    inverse_warp: InverseWarp = np.roll(grid_of(np.eye(2, 3), shape), 24, axis=1)
    found = coverage(packed(masks), shape, inverse_warp).dense()[0]
    assert (found[:, 24:] == 255).all() and not found[:, :24].any()


@pytest.mark.parametrize("by_grid", [False, True])
def test_boxes_end_where_their_content_does(by_grid: bool) -> None:
    """Turned by 40 degrees, the box around a box is nearly twice as large; some masks leave the image."""
    shape, masks = (61, 90), blobs(244, 360)
    inverse_warp = turn(40, 1.3, (25, -12), True, shape)
    found = coverage(packed(masks), shape, grid_of(inverse_warp, shape) if by_grid else inverse_warp)
    tight = CroppedMaps.from_dense(found.dense())
    assert np.array_equal(found.boxes, tight.boxes) and np.array_equal(found.values, tight.values)
    assert not found.boxes[0].any() and found.values.base is None, "nothing of the larger boxes stays in memory"


def test_more_than_64_classes() -> None:
    masks = np.random.default_rng(0).random((70, 16, 16)) < 0.5
    average = masks.reshape(70, 8, 2, 8, 2).mean((2, 4))
    assert np.abs(coverage(packed(masks), (8, 8)).dense() / 255 - average).max() <= 0.5 / 255 + 1e-9
