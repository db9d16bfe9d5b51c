"""Probabilities survive cropping and the disk."""

from pathlib import Path

import numpy as np

from handbone.inference.probabilities import Probabilities


def test_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 256, (6, 20, 30), np.uint8)
    maps[0] = 0
    maps[1, :15] = 0
    maps[2, :, 4:] = 0
    probabilities = Probabilities.from_dense(maps)
    assert np.array_equal(probabilities.dense(), maps)
    assert probabilities.boxes[0].tolist() == [0, 0, 0, 0] and probabilities.boxes[2].tolist() == [0, 0, 20, 4]
    for name in "ab":
        probabilities.save(tmp_path / f"x/{name}.npz")
    assert np.array_equal(Probabilities.load(tmp_path / "x/a.npz").dense(), maps)
    assert (tmp_path / "x/a.npz").read_bytes() == (tmp_path / "x/b.npz").read_bytes()
