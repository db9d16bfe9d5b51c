"""Surface distances are MONAI's, and means over images leave out those without."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

from handbone.evaluation.dice import counts_table, dice, iou
from handbone.evaluation.surface_distances import DISTANCES, mean_hd95, scores_by_class, surface_distances
from handbone.masks.boxed import BoxedMasks
from handbone.masks.runs import RunLengthMasks

SIDE = 160


def runs_of(masks: np.ndarray) -> RunLengthMasks:
    return RunLengthMasks.from_boxed(BoxedMasks.from_dense(masks))


def ellipses(rng: np.random.Generator, specks: float) -> np.ndarray:
    """(12, 160, 160): ellipses with some pixels missing and some in excess, a few beyond the image's edge."""
    masks = np.zeros((12, SIDE, SIDE), np.uint8)
    for mask in masks:
        centre, axes = rng.integers(0, SIDE, 2), rng.integers(2, 50, 2)
        cv2.ellipse(mask, centre.tolist(), axes.tolist(), float(rng.integers(180)), 0, 360, 1, -1)
    return (masks > 0) ^ (rng.random(masks.shape) < specks)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize("specks", [0, 0.001, 0.2])
def test_they_are_those_of_monai(specks: float) -> None:
    rng = np.random.default_rng(1)
    predicted, truth = ellipses(rng, specks), ellipses(rng, specks)
    dense = [torch.from_numpy(masks[None]) for masks in (predicted, truth)]
    hd95 = compute_hausdorff_distance(*dense, include_background=True, percentile=95)[0]
    assd = compute_average_surface_distance(*dense, include_background=True, symmetric=True)[0]
    found = surface_distances(runs_of(predicted), runs_of(truth))
    assert np.allclose(found, torch.stack([hd95, assd], 1).numpy(), rtol=1e-6, atol=1e-6), "up to MONAI's float32"
    assert found[:, 0].min() > 1


def test_known_distances() -> None:
    """Two squares, 3 pixels apart in x: most of the surface is the upper and lower edge, where only 3 pixels at an end are apart."""
    one, other = np.zeros((2, 1, 40, 40), bool)
    one[0, 10:31, 5:26], other[0, 10:31, 8:29] = True, True
    (hd95, assd) = surface_distances(runs_of(one), runs_of(other))[0]
    side, edges = 21 * 3 + 2 * (1 + 2), 80  # both ends of the edges are 1 and 2 pixels away; the 21 pixels of one side 3
    inner = sum(min(3, 10 - abs(10 - row)) for row in range(1, 20))  # the other side lies inside: the nearest edge is above, below or aside
    assert hd95 == 3 and assd == pytest.approx((side + inner) / edges)
    assert surface_distances(runs_of(one), runs_of(one)).tolist() == [[0, 0]]


def test_without_a_mask_there_is_no_distance() -> None:
    empty, full = np.zeros((1, 5, 5), bool), np.ones((1, 5, 5), bool)
    cases = np.concatenate([empty, full, empty, full]), np.concatenate([empty, empty, full, full])
    found = surface_distances(runs_of(cases[0]), runs_of(cases[1]))
    assert np.isnan(found).all(1).tolist() == [True, True, True, False] and found[3].tolist() == [0, 0]


def test_means_are_over_the_images_that_have_distances() -> None:
    counts = np.array([[6, 2, 4], [0, 3, 0]])
    rows = [
        counts_table(key, ["b", "a"], counts).assign(hd95=[near, math.nan], assd=[near / 2, math.nan]) for key, near in (("p", 1), ("q", 4))
    ]
    scores = scores_by_class(pd.concat(rows))
    assert scores.index.tolist() == ["b", "a"] and scores["undefined"].tolist() == [0, 2]
    assert scores.loc["b", DISTANCES].tolist() == [2.5, 1.25] and scores.loc["a", DISTANCES].isna().all()
    assert mean_hd95(pd.concat(rows)) == 2.5 and mean_hd95(rows[0].drop(columns="hd95")) is None
    assert scores["dice"].tolist() == pytest.approx(dice(counts)) and scores["iou"].tolist() == pytest.approx(iou(counts))
