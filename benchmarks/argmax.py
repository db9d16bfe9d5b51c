"""What one class per pixel costs on bones that overlap: `python -m benchmarks.argmax` in the folder of a finished run.

No network runs: the true masks are in the cache, and the probabilities of the held-out people are stored.
"""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from handbone.cache.sample import read_masks
from handbone.config import paths
from handbone.config.params import load_params
from handbone.evaluation.dice import dice
from handbone.evaluation.predictions import read_record
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.upsample import full_masks

Masks = NDArray[np.bool_]  # (C, H, W)
THRESHOLD = 0.5
COLUMNS = {
    "overlapping": "share of its pixels that other classes have too",
    "later": "true masks, one class per pixel: the later class of the list",
    "smaller": "true masks, one class per pixel: the smaller mask",
    "argmax": "network, argmax of the classes above 0.5",
    "thresholds": "network, each class above 0.5",
}


def overlap(truth: Masks) -> NDArray[np.float64]:
    """(C,) the share of each mask's pixels that are in another mask too."""
    shared = truth & (truth.sum(0) > 1)
    return np.asarray(shared.sum((1, 2)) / np.maximum(truth.sum((1, 2)), 1))


def exclusive(truth: Masks, order: NDArray[np.int64]) -> Masks:
    """The masks after painting them over each other in this order, so that each pixel has the last of its classes."""
    labels = np.full(truth.shape[1:], -1)
    for number in order:
        labels[truth[number]] = number
    return np.asarray(labels == np.arange(len(truth))[:, None, None], bool)


def most_probable(probabilities: CroppedMaps, above: Masks) -> Masks:
    """Of the masks above the threshold, each pixel keeps the class with the highest upsampled probability."""
    height, width = above.shape[1:]
    small = probabilities.dense().astype(np.float32)
    upsampled = np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in small])
    return np.asarray(above & (upsampled.argmax(0) == np.arange(len(above))[:, None, None]), bool)


def dice_of(masks: Masks, truth: Masks) -> NDArray[np.float64]:
    """(C,) Dice of dense masks."""
    both = (masks & truth).sum((1, 2))
    return dice(np.stack([both, masks.sum((1, 2)) - both, truth.sum((1, 2)) - both], 1))


def measured(key: str) -> dict[str, NDArray[np.float64]]:
    """Each of `COLUMNS` for one held-out image, per class."""
    truth = read_masks(paths.cached_sample("train", key)).unpack().dense()
    probabilities = CroppedMaps.load(paths.prediction("oof", key))
    above = full_masks(probabilities, truth.shape[1:], THRESHOLD).boxed().dense()
    in_order, from_large = np.arange(len(truth)), np.argsort(-truth.sum((1, 2)), kind="stable")
    return {
        "overlapping": overlap(truth),
        "later": dice_of(exclusive(truth, in_order), truth),
        "smaller": dice_of(exclusive(truth, from_large), truth),
        "argmax": dice_of(most_probable(probabilities, above), truth),
        "thresholds": dice_of(above, truth),
    }


def main() -> None:
    """Print the mean over the held-out images of every class, those that overlap most on top."""
    images = [measured(key) for key in read_record(paths.prediction_record("oof"))["files"]]
    table = pd.DataFrame({name: np.mean([image[name] for image in images], 0) for name in COLUMNS}, index=load_params().data.classes)
    table = pd.concat([table.sort_values("overlapping", ascending=False), table.mean().to_frame("mean of all").T])
    print(f"| class | {' | '.join(COLUMNS.values())} |\n|---|{'---:|' * len(COLUMNS)}")
    for label, row in table.iterrows():
        print(f"| {label} | {row['overlapping']:.1%} | {' | '.join(f'{row[name]:.4f}' for name in list(COLUMNS)[1:])} |")


if __name__ == "__main__":
    main()
