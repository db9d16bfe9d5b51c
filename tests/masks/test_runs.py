"""Run-length masks are equal to dense masks, also for adversarial ones."""

import itertools

import numpy as np
import pytest

from handbone.masks.boxed import BoxedMasks
from handbone.masks.runs import ROOM, RunLengthMasks


def runs_of(masks: np.ndarray) -> RunLengthMasks:
    return RunLengthMasks.from_boxed(BoxedMasks.from_dense(masks))


def expected_intervals(mask: np.ndarray) -> list[list[int]]:
    """(H, W) -> start and end (exclusive) of each run of the flattened mask."""
    flat = np.concatenate([[0], mask.ravel().astype(int), [0]])
    change = np.flatnonzero(np.diff(flat))
    return change.reshape(-1, 2).tolist()


def intervals_of(runs: RunLengthMasks) -> list[list[list[int]]]:
    return [runs.intervals[start:end].tolist() for start, end in itertools.pairwise(runs.indptr)]


def adversarial(height: int, width: int) -> np.ndarray:
    """Empty, full, single pixels in the corners, whole rows, both borders (runs that continue in the next row), a chessboard, noise."""
    rng = np.random.default_rng(0)
    masks = np.zeros((9, height, width), bool)
    masks[1] = True
    masks[2, 0, 0] = masks[2, -1, -1] = masks[2, 0, -1] = masks[2, -1, 0] = True
    masks[3, 1::2] = True
    masks[4, :, 0] = masks[4, :, -1] = True
    masks[5] = np.indices((height, width)).sum(0) % 2 == 0
    masks[6] = rng.random((height, width)) < 0.5
    masks[7] = rng.random((height, width)) < 0.01
    masks[8] = rng.random((height, width)) > 0.01
    return masks


def test_every_mask_of_3_by_4() -> None:
    masks = np.array(list(itertools.product([False, True], repeat=12))).reshape(-1, 3, 4)
    runs = runs_of(masks)
    assert intervals_of(runs) == [expected_intervals(mask) for mask in masks]
    assert np.array_equal(runs.boxed().dense(), masks)


@pytest.mark.parametrize("shape", [(5, 7), (64, 64), (33, 100), (1, 3000), (300, 1), (128, 512)])
def test_adversarial_masks(shape: tuple[int, int]) -> None:
    masks = adversarial(*shape)
    runs = runs_of(masks)
    assert intervals_of(runs) == [expected_intervals(mask) for mask in masks]
    boxed = runs.boxed()
    assert np.array_equal(boxed.dense(), masks)
    assert np.array_equal(boxed.boxes, BoxedMasks.from_dense(masks).boxes)
    assert intervals_of(runs.transposed()) == [expected_intervals(mask.T) for mask in masks]
    assert runs.transposed().shape == shape[::-1]


def test_more_runs_than_fit_in_the_first_buffer() -> None:
    masks = np.indices((200, 201)).sum(0)[None] % 2 == np.arange(3)[:, None, None] % 2
    runs = runs_of(masks)
    assert len(runs.intervals) > ROOM
    assert intervals_of(runs) == [expected_intervals(mask) for mask in masks]


def test_areas_and_intersections_are_those_of_the_dense_masks() -> None:
    rng = np.random.default_rng(0)
    one, other = np.concatenate([adversarial(40, 30), rng.random((20, 40, 30)) < rng.random((20, 1, 1))]), rng.random((29, 40, 30)) < 0.5
    assert runs_of(one).areas().tolist() == one.sum((1, 2)).tolist()
    for left, right in [(one, other), (one, one[::-1]), (one, one)]:
        shared = runs_of(left).intersections(runs_of(right))
        assert shared.tolist() == (left & right).sum((1, 2)).tolist()


def test_masks_of_other_images_do_not_intersect() -> None:
    with pytest.raises(ValueError, match="pixels"):
        runs_of(np.ones((1, 4, 6), bool)).intersections(runs_of(np.ones((1, 6, 4), bool)))
    with pytest.raises(ValueError, match="1 and 2 classes"):
        runs_of(np.ones((1, 4, 6), bool)).intersections(runs_of(np.ones((2, 4, 6), bool)))


def test_large_random_masks() -> None:
    rng = np.random.default_rng(1)
    masks = np.zeros((3, 1024, 1024), bool)
    for mask in masks:
        for _ in range(40):
            y, x = rng.integers(0, 1000, 2)
            mask[y : y + rng.integers(1, 200), x : x + rng.integers(1, 200)] ^= True
    runs = runs_of(masks)
    assert intervals_of(runs) == [expected_intervals(mask) for mask in masks]
    assert np.array_equal(runs.boxed().dense(), masks)


def test_a_run_from_the_first_pixel_ends_before_an_empty_byte() -> None:
    """Whole bytes inside or outside a run are skipped; a run that begins at pixel 0 is a run too."""
    masks = np.zeros((1, 2, 24), bool)
    masks[0, 0, :8] = masks[0, 0, 16:] = True
    assert intervals_of(runs_of(masks)) == [[[0, 8], [16, 24]]]


def test_pixels_are_true_or_false_in_memory_too() -> None:
    """NumPy takes any other byte as true, but counts it as another number."""
    (crop,) = runs_of(np.ones((1, 2, 3), bool)).boxed().crops
    assert crop.view(np.uint8).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_one_by_one_the_masks_are_the_same() -> None:
    masks = adversarial(13, 20)
    for mask, alone in zip(masks, runs_of(masks).one_by_one(), strict=True):
        assert np.array_equal(alone.boxed().dense(), mask[None])


def test_pixels_inside_of_any_other_mask() -> None:
    rng = np.random.default_rng(0)
    labels, masks = rng.integers(0, 5, (17, 23)), rng.random((3, 17, 23)) < 0.4
    others = RunLengthMasks.from_boxed(BoxedMasks.from_dense(labels == np.arange(3)[:, None, None]))  # 3 and 4 are outside
    inside = RunLengthMasks.from_boxed(BoxedMasks.from_dense(masks)).pixels_inside(others)
    assert inside.tolist() == (masks & (labels < 3)).sum((1, 2)).tolist()
