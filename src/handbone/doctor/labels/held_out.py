"""Labels that the model which has not seen them contradicts: the out-of-fold Dice of a class is far below what is usual for the class."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import cv2
import numpy as np
import pandas as pd

from handbone.doctor.labels.drawing import Drawing, Floats, paint
from handbone.doctor.labels.finding import Finding
from handbone.doctor.labels.positions import usual
from handbone.evaluation.dice import with_dice
from handbone.masks.cropped_maps import CroppedMaps

LIMIT = 3.0  # usual deficits: three times as far below the median as 95 % of the images are
LEAST = 0.03  # smaller usual deficits are noise of the edge
SAME = 0.5  # Dice with the prediction of another class, from which on the label is said to be on that one


def unlike_predictions(
    counts: pd.DataFrame,
    drawings: Sequence[Drawing],
    classes: Sequence[str],
    found: Collection[tuple[str, int]],
    predicted: Callable[[str], CroppedMaps],
) -> Iterator[Finding]:
    """A finding for each label with a Dice far below the class's median.

    counts: rows of key, class, tp, fp, fn of held-out images. found: keys and classes with a finding, which are not named again.
    predicted: the probabilities of a sample by key, in the order of `classes`.
    """
    of_key = {drawing.key: drawing for drawing in drawings}
    known = with_dice(counts[counts["key"].isin(list(of_key))])
    table = known.pivot(index="key", columns="class", values="dice").reindex(columns=list(classes))
    dice = table.to_numpy(float)
    strange = _strange(dice)
    for number, c in np.argwhere(strange > 1).tolist():
        key = str(table.index[number])
        if (key, c) not in found and of_key[key].polygons[c]:
            other = _other_class(of_key[key], c, predicted(key))
            words = f"Dice {dice[number, c]:.2f} with the prediction, {np.nanmedian(dice[:, c]):.2f} in other images"
            if other is None:
                yield Finding(key, "held_out", (c,), float(strange[number, c]), words)
            else:
                words += f"; it is where the model predicts {classes[other]}"
                yield Finding(key, "swapped", (c, other), float(strange[number, c]), words)


def _strange(dice: Floats) -> Floats:
    """(N, C) Dice -> how far each is below its class's median, in units of the limit."""
    deficits = np.nanmedian(dice, 0) - dice
    return np.nan_to_num(deficits / np.maximum(usual(deficits), LEAST) / LIMIT)


def _other_class(drawing: Drawing, c: int, maps: CroppedMaps) -> int | None:
    """The other class whose predicted mask is where the polygons of class c are."""
    scale = np.divide(maps.shape[::-1], drawing.shape[::-1])
    mask = paint(maps.shape, [np.asarray((polygon + 0.5) * scale - 0.5, np.float64) for polygon in drawing.polygons[c]])
    planes = maps.dense() >= 128
    both, sizes = (planes & (mask > 0)).sum((1, 2)), planes.sum((1, 2)) + int(cv2.countNonZero(mask))
    dice = 2 * both / np.maximum(sizes, 1)
    dice[c] = 0
    return int(dice.argmax()) if dice.max() >= SAME else None
