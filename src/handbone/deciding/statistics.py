"""The Dice of one image under many decisions, from sums that are computed once: histograms, and areas of components.

Each number is that of `decided_counts` under the same decision, to the last pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from handbone.evaluation.decision import CleanUp, Decision, raw_masks
from handbone.evaluation.dice import count, dice
from handbone.masks.components import Components
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.histogram import HALF_STEPS, counts_at, histograms
from handbone.masks.packed import PackedMasks
from handbone.masks.runs import RunLengthMasks

Floats = NDArray[np.float64]
Maps = Sequence[CroppedMaps]  # C maps of each member

MIDDLE, STEP, FARTHEST = 255, 6, 150  # of thresholds, in units of 1 / 510: 0.5, 0.012, 0.29
HALF_STEP_CANDIDATES = sorted(range(MIDDLE - FARTHEST, MIDDLE + FARTHEST + 1, STEP), key=lambda number: (abs(number - MIDDLE), number))
THRESHOLDS = [number / HALF_STEPS for number in HALF_STEP_CANDIDATES]  # 0.5 first, then what is nearest to it
MIN_AREAS = (0.0, 0.05, 0.1, 0.25, 0.5)  # of the class's median area


def weighting_dice(maps: Maps, truth: PackedMasks, decisions: Sequence[Decision]) -> Floats:
    """C maps of each member and their truth, and K decisions without a clean-up -> (C, K) Dice."""
    true_runs = RunLengthMasks.from_packed(truth)
    return np.stack([dice(count(raw_masks(maps, truth.shape, decision), true_runs, decision.exclusive)) for decision in decisions], 1)


def threshold_dice(maps: Maps, truth: PackedMasks, decision: Decision) -> Floats:
    """C maps of each member and their truth -> (C, K) Dice at each of `THRESHOLDS`, with the weights of the decision."""
    counts = counts_at(histograms(maps, decision.weights(len(maps[0].boxes)), RunLengthMasks.from_packed(truth)))
    return dice(counts[:, HALF_STEP_CANDIDATES])


def clean_ups(rules: Sequence[str]) -> list[CleanUp]:
    """What to try of these rules (`largest`, `min_area`, `fill_holes`): all combinations, no clean-up first, then by how many rules.

    min_area is a share of the class's median area here.
    """
    largest, fill = ((False, True) if name in rules else (False,) for name in ("largest", "fill_holes"))
    areas = MIN_AREAS if "min_area" in rules else MIN_AREAS[:1]
    combinations = [CleanUp(*values) for values in product(largest, areas, fill)]
    return sorted(combinations, key=lambda rule: rule.largest + (rule.min_area > 0) + rule.fill_holes)


def clean_up_dice(maps: Maps, truth: PackedMasks, decisions: Sequence[Sequence[Decision]]) -> Floats:
    """C maps of each member and their truth, and S sequences of K decisions -> (S, C, K) Dice.

    Decisions of the same members and thresholds share the search for components.
    """
    true_runs = RunLengthMasks.from_packed(truth)
    components: dict[str, Components] = {}

    def scored(decision: Decision) -> Floats:
        key = repr((decision.threshold, decision.members))
        if key not in components:
            components[key] = Components.of(raw_masks(maps, truth.shape, decision), true_runs)
        return dice(components[key].counts(decision.rules(truth.shape)))

    return np.stack([np.stack([scored(decision) for decision in of_one], 1) for of_one in decisions])


def area_shares(truth: PackedMasks) -> Floats:
    """-> (C,) areas of the true masks in shares of the image; NaN for a class that is absent."""
    areas = RunLengthMasks.from_packed(truth).areas() / (truth.shape[0] * truth.shape[1])
    return np.where(areas > 0, areas, np.nan)
