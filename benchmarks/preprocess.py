"""One image and its annotation -> the cache."""

from __future__ import annotations

import numpy as np

from benchmarks import baseline
from benchmarks.scene import SIDE, Scene
from benchmarks.table import ResultRow, check
from benchmarks.timing import interleaved, peak_mb
from handbone.cache.sample import read_sample, write_sample
from handbone.dataset.preprocess import prepare_sample


def preprocess(scene: Scene) -> list[ResultRow]:
    """PNG of three equal channels and JSON -> npz with image and masks."""
    sample, path, plain = scene.samples[0], scene.folder / "ours.npz", scene.folder / "plain.npz"

    def ours() -> None:
        write_sample(path, prepare_sample(sample, scene.preprocess_spec))

    ours()
    baseline.preprocess(sample, scene.classes, plain)
    read = read_sample(path)
    assert read.masks is not None
    with np.load(plain) as arrays:
        check(np.array_equal(arrays["image"], np.repeat(read.image[:, :, None], 3, 2)), "preprocess: the image")
        check(np.array_equal(arrays["mask"].transpose(2, 0, 1).astype(bool), read.masks.unpack().dense()), "preprocess: the masks")
    works = [
        lambda: baseline.preprocess(sample, scene.classes, plain),
        ours,
        lambda: baseline.preprocess(sample, scene.classes, plain, with_image=False),
    ]
    full, fast, masks_only = interleaved(works, scene.rounds(5), (1, 5, 1))
    note = f"{SIDE} px; x{masks_only / fast:.1f} against a baseline that saves the masks only ({masks_only:.0f} ms)"
    return [ResultRow("preprocess", full, fast, peak_mb(ours), "12", note)]
