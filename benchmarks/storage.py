"""Saved probabilities of the test set, for soft votes."""

from __future__ import annotations

from statistics import fmean

import numpy as np

from benchmarks.logits import plain_maps
from benchmarks.scene import SIZE, Scene
from benchmarks.submission import TEST_IMAGES
from benchmarks.table import Row, check
from benchmarks.timing import interleaved, peak_mb
from handbone.masks.cropped_maps import CroppedMaps


def probabilities(scene: Scene) -> list[Row]:
    """Time to save one image's maps, and the size of all."""
    maps = [plain_maps(own) for own in scene.logits]
    paths = [scene.folder / "probabilities" / f"{index}.npz" for index in range(len(maps))]
    for own, path in zip(maps, paths, strict=True):
        CroppedMaps.from_dense(own).save(path)
        check(np.array_equal(CroppedMaps.load(path).dense(), own), "probabilities: what was saved")
    plain, first, path = scene.logits[0].numpy(), maps[0], scene.folder / "ours_probabilities.npz"

    def ours() -> None:
        CroppedMaps.from_dense(first).save(path)

    slow, fast = interleaved([lambda: np.save(scene.folder / "plain.npy", plain), ours], scene.rounds(9), (1, 3))
    size = fmean(own.stat().st_size for own in paths) * TEST_IMAGES / 1e6
    raw = plain.nbytes * TEST_IMAGES / 1e6
    note = f"{TEST_IMAGES} images of {SIZE} px: {size:.0f} MB (aim: under 150) against {raw:.0f} MB of float32; ms to save one image"
    return [Row("probabilities", slow, fast, peak_mb(ours), "", note, {"mb": size, "baseline_mb": raw})]
