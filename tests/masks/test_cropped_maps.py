"""Cropped maps equal dense ones, also after saving, and logits become the probabilities that a sigmoid gives."""

from pathlib import Path

import numpy as np
import torch

from handbone.inference.predictor import to_uint8
from handbone.masks.cropped_maps import MAX_LOGIT, MIN_LOGIT, CroppedMaps


def exact(logits: torch.Tensor) -> np.ndarray:
    """255 times the probability in float64, not rounded."""
    return 255 / (1 + np.exp(-logits.double().numpy()))


def test_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 256, (6, 20, 30), np.uint8)
    maps[0] = 0
    maps[1, :15] = 0
    maps[2, :, 4:] = 0
    probabilities = CroppedMaps.from_maps(maps)
    assert np.array_equal(probabilities.dense(), maps)
    assert probabilities.boxes[0].tolist() == [0, 0, 0, 0] and probabilities.boxes[2].tolist() == [0, 0, 20, 4]
    for name in "ab":
        probabilities.save(tmp_path / f"x/{name}.npz")
    assert np.array_equal(CroppedMaps.load(tmp_path / "x/a.npz").dense(), maps)
    assert (tmp_path / "x/a.npz").read_bytes() == (tmp_path / "x/b.npz").read_bytes()


def test_logits_differ_from_the_plain_computation_only_at_ties() -> None:
    """Many logits around each of the 255 steps and over the whole range, and empty maps."""
    ties = torch.special.logit((torch.arange(255, dtype=torch.float64) + 0.5) / 255).float()
    near = (ties[:, None] + torch.linspace(-1e-3, 1e-3, 101)).reshape(1, 255, 101)
    spread = torch.linspace(-30, 30, 255 * 101).reshape(1, 255, 101)
    logits = torch.cat([near, spread, torch.full_like(near, -40), torch.full_like(near, float(MIN_LOGIT) - 1e-5)])
    found, plain = CroppedMaps.from_maps(logits.numpy()).dense(), to_uint8(logits.sigmoid()).numpy()
    value = exact(logits)
    assert np.abs(found - value).max() <= 0.5 + 1e-4
    differing = found != plain
    assert np.abs(value - np.floor(value) - 0.5)[differing].max(initial=0) < 1e-4
    assert not found[2:].any()
    assert exact(torch.tensor(float(MAX_LOGIT))) > 254.5


def test_the_boxes_of_logits_are_those_of_their_probabilities() -> None:
    """Rectangles and stray pixels, also in corners and along borders; zeros of both signs; NaN of both signs."""
    rng = np.random.default_rng(1)
    logits = np.full((300, 9, 11), -20, np.float32)
    for index, plane in enumerate(logits[1:]):
        y, x = rng.integers(0, 9, 2), rng.integers(0, 11, 2)
        if index % 3:
            plane[y, x] = rng.choice(np.array([-0.0, 0.0, 9, -6, float(MIN_LOGIT)], np.float32), 2)
        else:
            plane[min(y) : max(y) + 1, min(x) : max(x) + 1] = rng.normal(0, 9, (max(y) - min(y) + 1, max(x) - min(x) + 1))
    found = CroppedMaps.from_logits(logits)
    expected = CroppedMaps.from_dense(found.dense())
    assert np.array_equal(found.boxes, expected.boxes) and np.array_equal(found.values, expected.values)
    plain = to_uint8(torch.from_numpy(logits).sigmoid()).numpy().astype(int)
    assert np.abs(found.dense() - plain).max() <= 1 and np.mean(found.dense() != plain) < 0.01
    logits[:, 3, 4] = np.where(np.arange(300) % 2, np.nan, -np.nan)
    found = CroppedMaps.from_logits(logits)
    dense = found.dense()
    assert not dense[:, 3, 4].any() and not found.boxes[0].any()
    assert np.array_equal(found.boxes, CroppedMaps.from_dense(dense).boxes)


def test_logits_may_be_a_view_with_other_strides() -> None:
    logits = torch.randn(5, 17, 23) * 6
    turned = logits.permute(1, 2, 0).contiguous().permute(2, 0, 1).numpy()
    assert np.array_equal(CroppedMaps.from_logits(turned).values, CroppedMaps.from_logits(logits.numpy()).values)


def test_a_window_of_the_maps() -> None:
    maps = np.random.default_rng(2).integers(0, 256, (5, 20, 30), np.uint8)
    maps[1] = 0
    maps[2, :12] = 0
    maps[3, :, 5:] = 0
    for y0, x0, y1, x1 in [(0, 0, 20, 30), (3, 7, 11, 28), (0, 29, 1, 30)]:
        window = CroppedMaps.from_dense(maps).crop((y0, x0, y1, x1))
        assert window.shape == (y1 - y0, x1 - x0)
        assert np.array_equal(window.dense(), maps[:, y0:y1, x0:x1])


def test_binary_maps_are_255_from_half_on() -> None:
    maps = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert np.array_equal(CroppedMaps.from_dense(maps).binarize().dense(), np.where(maps >= 128, 255, 0))
