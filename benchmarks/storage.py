"""Stored probabilities of the test set."""

from __future__ import annotations

from statistics import fmean

import numpy as np

from benchmarks.logits import plain_maps
from benchmarks.scene import SIZE, Scene
from benchmarks.submission import TEST_IMAGES
from benchmarks.table import ResultRow, check
from benchmarks.timing import interleaved, peak_mb
from handbone.masks.cropped_maps import CroppedMaps


def probabilities(scene: Scene) -> list[ResultRow]:
    """Time to save the maps of one image, and the size of all files."""
    maps = [plain_maps(logits) for logits in scene.logits]
    paths = [scene.folder / "probabilities" / f"{index}.npz" for index in range(len(maps))]
    for dense, path in zip(maps, paths, strict=True):
        CroppedMaps.from_dense(dense).save(path)
        check(np.array_equal(CroppedMaps.load(path).dense(), dense), "probabilities: the maps after saving and loading")
    plain, first, path = scene.logits[0].numpy(), maps[0], scene.folder / "ours_probabilities.npz"

    def ours() -> None:
        CroppedMaps.from_dense(first).save(path)

    slow, fast = interleaved([lambda: np.save(scene.folder / "plain.npy", plain), ours], scene.rounds(9), (1, 3))
    size = fmean(path.stat().st_size for path in paths) * TEST_IMAGES / 1e6
    raw = plain.nbytes * TEST_IMAGES / 1e6
    note = f"{TEST_IMAGES} images of {SIZE} px: {size:.0f} MB (aim: under 150) against {raw:.0f} MB of float32; ms to save one image"
    return [ResultRow("probabilities", slow, fast, peak_mb(ours), "", note, {"mb": size, "baseline_mb": raw})]
