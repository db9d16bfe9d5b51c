"""Cropped maps equal dense ones, also after saving, and logits become the probabilities that a sigmoid gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from handbone.inference.predictor import to_uint8
from handbone.masks.cropped_maps import MAX_LOGIT, MIN_LOGIT, CroppedMaps
from handbone.utils.npz import write_npz

if TYPE_CHECKING:
    from conftest import Fails


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


BOX = np.array([[0, 0, 4, 9]], np.int32)


@pytest.mark.parametrize("values", [np.zeros(35, np.uint8), np.zeros(37, np.uint8), np.zeros(36, np.float32), np.zeros((4, 9), np.uint8)])
def test_values_that_are_not_as_many_as_the_boxes_need_are_an_error(values: np.ndarray) -> None:
    CroppedMaps((10, 12), BOX, np.zeros(36, np.uint8))
    with pytest.raises(ValueError, match="36 of uint8"):
        CroppedMaps((10, 12), BOX, values)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("shape", np.array([3, 12], np.int32)),
        ("shape", np.array([10, 8], np.int32)),
        ("shape", np.array([10, 12, 1], np.int32)),
        ("shape", np.array([10, 12], np.int64)),
        ("boxes", BOX.astype(np.int64)),
        ("boxes", -BOX),
        ("boxes", BOX + np.array([[2, 0, 0, 0]], np.int32)),
        ("values", np.zeros(35, np.uint8)),
        ("values", np.zeros(37, np.uint8)),
        ("values", np.zeros(36, np.float32)),
        ("values", None),
        ("more", np.zeros(1, np.uint8)),
    ],
)
def test_a_file_that_fits_no_image_is_an_error(tmp_path: Path, fails: Fails, name: str, array: np.ndarray | None) -> None:
    sound: dict[str, Any] = {"shape": np.array([10, 12], np.int32), "boxes": BOX, "values": np.zeros(36, np.uint8)}
    write_npz(tmp_path / "a.npz", sound)
    assert CroppedMaps.load(tmp_path / "a.npz").shape == (10, 12)
    write_npz(tmp_path / "a.npz", {key: value for key, value in (sound | {name: array}).items() if value is not None})
    with fails("predictions.corrupt", "a.npz"):
        CroppedMaps.load(tmp_path / "a.npz")


def test_a_flipped_byte_is_an_error(tmp_path: Path, fails: Fails) -> None:
    path = tmp_path / "a.npz"
    CroppedMaps.from_dense(np.random.default_rng(0).integers(0, 256, (2, 40, 50), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with fails("predictions.corrupt", "a.npz"):
        CroppedMaps.load(path)
