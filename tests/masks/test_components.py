"""Components, holes and clean-up in run space equal those of OpenCV and SciPy on dense masks."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from handbone.evaluation.dice import count
from handbone.masks.boxed import BoxedMasks
from handbone.masks.components import Components, Rules, clean
from handbone.masks.runs import ROOM, RunLengthMasks


def runs_of(masks: np.ndarray) -> RunLengthMasks:
    return RunLengthMasks.from_boxed(BoxedMasks.from_dense(masks))


def labelled(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool -> labels from 1 on, in row-major order of the first pixels; 0: background."""
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1]
    _, first = np.unique(labels, return_index=True)
    order = np.argsort(first[np.unique(labels) > 0]) if mask.any() else np.zeros(0, int)
    numbers = np.zeros(labels.max() + 1, int)
    numbers[order + 1] = np.arange(1, len(order) + 1)
    return numbers[labels]


def cleaned(mask: np.ndarray, largest: bool, min_area: int, fill_holes: bool) -> np.ndarray:
    """The slow, obvious way."""
    labels = labelled(mask)
    areas = np.bincount(labels.ravel())[1:]
    kept = areas >= min_area
    if largest and len(areas):
        kept &= np.arange(len(areas)) == areas.argmax()
    mask = np.isin(labels, np.flatnonzero(kept) + 1)
    return ndimage.binary_fill_holes(mask) if fill_holes else mask


def rings(height: int, width: int) -> np.ndarray:
    """Rings in rings, broken at random."""
    y, x = np.mgrid[:height, :width]
    return np.maximum(abs(y - height // 2), abs(x - width // 2)) % 2 == 0


def random_masks(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(9, H, W): empty, full, noise at four densities, broken rings, rectangles, holes in a full mask."""
    masks = np.zeros((9, height, width), bool)
    masks[1] = True
    for mask, density in zip(masks[2:6], (0.02, 0.4, 0.6, 0.95), strict=True):
        mask[:] = rng.random((height, width)) < density
    masks[6] = rings(height, width) & (rng.random((height, width)) < 0.97)
    for _ in range(6):
        top, left = rng.integers(0, height), rng.integers(0, width)
        masks[7, top : top + rng.integers(1, height + 1), left : left + rng.integers(1, width + 1)] ^= True
    masks[8] = rings(height, width)
    return masks


def assert_equal_to_dense(masks: np.ndarray, truth: np.ndarray, rules: Rules) -> None:
    runs, true_runs = runs_of(masks), runs_of(truth)
    given = zip(masks, rules.largest.tolist(), rules.min_area.tolist(), rules.fill_holes.tolist(), strict=True)
    expected = np.stack([cleaned(*one) for one in given])
    found, whole = clean(runs, rules), runs_of(expected)
    assert np.array_equal(found.boxed().dense(), expected)
    assert np.array_equal(found.indptr, whole.indptr) and np.array_equal(found.intervals, whole.intervals)
    assert np.array_equal(Components.of(runs, true_runs).counts(rules), count(whole, true_runs))


def all_rules(classes: int, min_area: int) -> list[Rules]:
    flags = [(False, 0), (True, 0), (False, min_area), (True, min_area)]
    return [
        Rules(np.full(classes, largest), np.full(classes, area), np.full(classes, fill))
        for (largest, area), fill in itertools.product(flags, (False, True))
    ]


def test_every_mask_of_3_by_4_under_every_rule() -> None:
    masks = np.array(list(itertools.product([False, True], repeat=12))).reshape(-1, 3, 4)
    truth = np.random.default_rng(0).random(masks.shape) < 0.5
    for rules in all_rules(len(masks), 3):
        assert_equal_to_dense(masks, truth, rules)


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 2**32 - 1), shape=st.tuples(st.integers(1, 24), st.integers(1, 24)), min_area=st.integers(0, 12))
def test_random_masks_under_random_rules(seed: int, shape: tuple[int, int], min_area: int) -> None:
    rng = np.random.default_rng(seed)
    masks = random_masks(rng, *shape)
    rules = Rules(rng.random(9) < 0.3, rng.integers(0, min_area + 1, 9), rng.random(9) < 0.6)
    assert_equal_to_dense(masks, rng.random(masks.shape) < 0.5, rules)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), shape=st.tuples(st.integers(1, 24), st.integers(1, 24)))
def test_areas_and_overlaps_of_components_are_those_of_opencv(seed: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    masks = random_masks(rng, *shape)
    truth = rng.random(masks.shape) < 0.5
    components = Components.of(runs_of(masks), runs_of(truth))
    for (start, end), mask, true_mask in zip(itertools.pairwise(components.indptr), masks, truth, strict=True):
        labels = labelled(mask)
        expected = [np.bincount(labels[where].ravel(), minlength=labels.max() + 1)[1:] for where in (mask | ~mask, true_mask)]
        assert components.sums[start:end].T.tolist() == [one.tolist() for one in expected]
        filled = [ndimage.binary_fill_holes(labels == number + 1) for number in range(end - start)]
        assert components.filled[start:end].tolist() == [[one.sum(), (one & true_mask).sum()] for one in filled]


def test_a_component_in_a_hole_is_dropped_with_its_hole_and_filled_with_the_outer_one() -> None:
    mask = np.zeros((1, 11, 11), bool)
    mask[0, 1:10, 1:10] = True  # a ring of 9 x 9 around a ring of 5 x 5 around a pixel
    mask[0, 2:9, 2:9] = False
    mask[0, 3:8, 3:8] = True
    mask[0, 4:7, 4:7] = False
    mask[0, 5, 5] = True
    components = Components.of(runs_of(mask), runs_of(mask))
    assert components.sums[:, 0].tolist() == [32, 16, 1]
    assert components.filled[:, 0].tolist() == [81, 25, 1]
    assert components.parents.tolist() == [-1, 0, 1]
    for rules in all_rules(1, 17):
        assert_equal_to_dense(mask, mask, rules)


def test_of_equal_components_the_first_is_kept() -> None:
    mask = np.zeros((1, 5, 9), bool)
    mask[0, 1, 6:8] = mask[0, 2, 0:2] = True
    kept = clean(runs_of(mask), Rules(np.array([True]), np.array([0]), np.array([False])))
    assert kept.intervals.tolist() == [[15, 17]]


def test_a_run_through_the_end_of_a_row_is_two_components() -> None:
    mask = np.zeros((1, 2, 8), bool)
    mask[0, 0, 6:] = mask[0, 1, :3] = True
    runs = runs_of(mask)
    assert len(runs.intervals) == 1
    assert Components.of(runs, runs).sums.tolist() == [[2, 2], [3, 3]]
    assert clean(runs, Rules(np.array([True]), np.array([0]), np.array([False]))).intervals.tolist() == [[8, 11]]


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (300, 211)])
def test_large_masks(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    masks = random_masks(rng, *shape)
    for rules in all_rules(9, 5):
        assert_equal_to_dense(masks, rng.random(masks.shape) < 0.5, rules)


def test_more_runs_than_fit_in_the_first_buffer() -> None:
    masks = np.random.default_rng(0).random((2, 300, 400)) < 0.5
    rules = Rules(np.zeros(2, bool), np.ones(2, np.int64), np.zeros(2, bool))
    assert len(runs_of(masks).intervals) > ROOM
    assert np.array_equal(clean(runs_of(masks), rules).boxed().dense(), masks)


def test_masks_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="pixels"):
        Components.of(runs_of(np.ones((1, 4, 6), bool)), runs_of(np.ones((1, 6, 4), bool)))
