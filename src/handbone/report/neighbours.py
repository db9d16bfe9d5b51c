"""Neighbours that are confused: where the prediction of one class covers the truth of another one that it does not share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handbone.masks.boxed import BoxedMasks
from handbone.masks.overlaps import overlaps
from handbone.masks.runs import RunLengthMasks
from handbone.report.html import Cell, Number, Section, note, table
from handbone.report.layers import Shown
from handbone.utils.parallel import prefetch_map

PAIRS = 15
LEAST = 0.002  # of the covered truth: less is a line of pixels here and there


def covered_pixels(shown: Shown) -> NDArray[np.int64]:
    """C predictions and their truth -> (C, C + 1) pixels: at [a, b] what prediction a covers of truth b and not of truth a.

    The last column has the pixels of each truth.
    """
    wrong, truth = shown.predicted.without(shown.truth), shown.truth
    both = BoxedMasks(truth.shape, np.concatenate([wrong.boxes, truth.boxes]), [*wrong.crops, *truth.crops])
    shared, classes = overlaps(RunLengthMasks.from_boxed(both)).shared, len(truth.crops)
    return np.concatenate([shared[:classes, classes:], truth.areas()[:, None]], 1)


def count_covered(keys: Sequence[str], show: Callable[[str], Shown]) -> NDArray[np.int64]:
    """-> (N, C, C + 1) `covered_pixels` of N held-out images. show: an image with its masks, by key."""
    counted = prefetch_map(lambda key: covered_pixels(show(key)), keys)
    return np.stack(list(tqdm(counted, "report", len(keys), unit="image")))


def neighbours_section(classes: Sequence[str], counts: NDArray[np.int64]) -> Section:
    """The pairs that lose the largest share of a truth. counts: (N, C, C + 1) `covered_pixels` of the held-out images."""
    pixels, areas = counts[..., :-1], counts[..., -1].sum(0)
    shares = np.divide(pixels.sum(0), areas, out=np.zeros(pixels.shape[1:]), where=areas > 0)
    order = np.dstack(np.unravel_index((-shares).argsort(axis=None, kind="stable"), shares.shape))[0][:PAIRS].tolist()
    rows: list[list[Cell]] = [
        [
            classes[first],
            classes[second],
            Number(100 * shares[first, second], ".2f"),
            Number(float(pixels[:, first, second].sum()), ",.0f"),
            Number(int(np.count_nonzero(pixels[:, first, second])), ",.0f"),
        ]
        for first, second in order
        if shares[first, second] >= LEAST
    ]
    if not rows:
        return Section("Neighbours confused", note(f"No prediction covers {LEAST:.1%} of another class's truth that it does not share."))
    heads = ["Prediction of", "covers truth of", "% of that truth", "Pixels", f"Images of {len(counts):,}"]
    text = (
        "Pixels of all held-out images that a prediction covers and its own truth does not have, by whose truth they are. "
        "Where bones overlap, a pixel belongs to both, and covering it is no fault."
    )
    return Section("Neighbours confused", table(heads, rows, sortable=True) + note(text))
