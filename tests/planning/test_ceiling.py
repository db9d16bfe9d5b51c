"""The ceiling of a size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from handbone.cache.sample import CachedSample, write_sample
from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks
from handbone.planning.ceiling import ceilings

CLASSES = ["disc", "dot"]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two images of 128 px with a large and a small disc."""
    files = [tmp_path / f"{number}.npz" for number in range(2)]
    for number, file in enumerate(files):
        masks = np.zeros((2, 128, 128), np.uint8)
        cv2.circle(masks[0], (60 + number, 64), 31, (1,), -1)
        cv2.circle(masks[1], (20, 21 + number), 6, (1,), -1)
        packed = PackedMasks.pack(BoxedMasks.from_dense(masks.astype(bool)))
        write_sample(file, CachedSample(np.zeros((128, 128), np.uint8), (128, 128), packed))
    return files


def plain(masks: np.ndarray, size: int) -> float:
    """Dice of a mask that was averaged over areas, enlarged and thresholded by OpenCV."""
    small = cv2.resize(masks.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    again = cv2.resize(np.rint(small * 255), masks.shape[::-1], interpolation=cv2.INTER_LINEAR) > 127.5
    return float(2 * (again & masks).sum() / (again.sum() + masks.sum()))


def test_a_ceiling_is_the_dice_of_averaged_and_enlarged_masks(files: list[Path]) -> None:
    from handbone.cache.sample import read_masks

    dense = [read_masks(file).unpack().dense() for file in files]
    for size, ceiling in ceilings(files, CLASSES, [16, 32, 64], hard=False).items():
        expected = [np.mean([plain(image[number], size) for image in dense]) for number in range(2)]
        assert ceiling.mean == pytest.approx(np.mean(expected), abs=1e-3)
        assert (ceiling.lowest, ceiling.name) == (pytest.approx(expected[1], abs=1e-3), "dot")


def test_native_size_loses_nothing_and_hard_targets_lose_more(files: list[Path]) -> None:
    soft, hard = (ceilings(files, CLASSES, [32, 128, 512], hard) for hard in (False, True))
    assert soft[128].mean == soft[512].mean == hard[128].lowest == 1
    assert hard[32].mean < soft[32].mean < 1
