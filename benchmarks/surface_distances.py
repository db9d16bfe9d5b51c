"""HD95 and the average surface distance of all classes of an image, beside the time that stage `validate` needs for the image anyway."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.logits import plain_maps
from benchmarks.scene import Scene
from benchmarks.table import ResultRow, check
from benchmarks.timing import interleaved, peak_mb
from handbone.cache.sample import read_masks
from handbone.evaluation.decision import Decision, decide
from handbone.evaluation.dice import count
from handbone.evaluation.surface_distances import surface_distances
from handbone.masks.boxed import Mask
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.runs import RunLengthMasks

DECISION = Decision(0.5)


def distances(scene: Scene) -> list[ResultRow]:
    """One image of true size: masks of the prediction and the truth -> (C, 2) distances."""
    stored = scene.folder / "surface_distances.npz"
    CroppedMaps.from_dense(plain_maps(scene.logits[0])).save(stored)

    def decided() -> tuple[RunLengthMasks, RunLengthMasks]:
        """What the stage does with an image, up to the masks."""
        truth = read_masks(scene.files[0])
        return decide([CroppedMaps.load(stored)], truth.shape, DECISION), RunLengthMasks.from_packed(truth)

    predicted, truth = decided()
    plain = partial(_monai, predicted.boxed().dense(), truth.boxed().dense())
    ours = partial(surface_distances, predicted, truth)
    check(np.allclose(ours(), plain(), rtol=1e-5, atol=1e-5), "surface_distances")
    slow, fast, rest = interleaved([plain, ours, lambda: count(*decided())], scene.rounds(5), (1, 9, 9))
    note = f"baseline: monai.metrics of dense bool masks, HD95 and ASSD; equal to 1e-5; reading, deciding and counting take {rest:.2f} ms"
    return [ResultRow("surface_distances", slow, fast, peak_mb(ours), "50", note, {"rest_ms": rest})]


def _monai(predicted: Mask, truth: Mask) -> NDArray[np.float32]:
    """(C, H, W) masks -> (C, 2) HD95 and ASSD."""
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance  # takes seconds, and only this row needs it
    from monai.metrics.surface_distance import compute_average_surface_distance

    pair = torch.from_numpy(predicted[None]), torch.from_numpy(truth[None])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's own use of what it has deprecated
        hd95 = compute_hausdorff_distance(*pair, include_background=True, percentile=95)
        assd = compute_average_surface_distance(*pair, include_background=True, symmetric=True)
    found: NDArray[np.float32] = torch.stack([hd95[0], assd[0]], 1).numpy()
    return found
