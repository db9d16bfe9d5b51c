"""Pictures of held-out images: always the same ones, with outlines in the places of truth and prediction."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handbone.cache.sample import CachedSample, write_sample
from handbone.evaluation.decision import Decision
from handbone.evaluation.held_out_pictures import COUNT, LONGEST, held_out_pictures
from handbone.evaluation.overlay import PREDICTED_RGB, TRUTH_RGB
from handbone.inference.predictor import InputSpec
from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks

INPUTS = InputSpec(64, 1, 2, torch.device("cpu"), "no")
DECISION = Decision(0.5)
CLASSES = ["half", "box"]


class LeftHalf(nn.Module):
    """Predicts both classes in the left half of the image."""

    def forward(self, images: Tensor) -> Tensor:
        logits = torch.full((len(images), 2, *images.shape[2:]), -9.0)
        logits[..., : images.shape[3] // 2] = 9.0
        return logits


def make_files(folder: Path, count: int, side: int = 64) -> dict[str, Path]:
    """The first class is the left half, the second one is a box in the right half."""
    half, eighth = side // 2, side // 8
    boxes = [np.ones((side, half), bool), np.ones((2 * eighth, 2 * eighth), bool)]
    masks = PackedMasks.pack(BoxedMasks.from_crops((side, side), [(0, 0), (eighth, half + eighth)], boxes))
    files = {f"ID{index:03d}/image": folder / f"{index}.npz" for index in range(count)}
    for file in files.values():
        write_sample(file, CachedSample(np.full((side, side), 100, np.uint8), (side, side), masks))
    return files


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(h, w) bool: the pixels of about this colour."""
    return np.abs(picture.astype(int) - colour).max(-1) < 70


def test_truth_and_prediction_are_where_they_are(tmp_path: Path) -> None:
    """The first class agrees, so its outline is white; the box of the second is missed where the left half is predicted."""
    (picture,) = held_out_pictures(LeftHalf(), make_files(tmp_path, 1), CLASSES, INPUTS, None, DECISION).values()
    assert picture.shape == (64, 64, 3)
    white, blue = near(picture, (255, 255, 255)), near(picture, TRUTH_RGB)
    assert white[:, 0].all() and white[:, 31].all()
    assert blue[8:24, 40].all() and blue[8, 40:56].all() and not blue[:, :32].any()
    assert (picture[40:60, 40:60] == 100).all()


def test_a_prediction_without_truth_is_orange(tmp_path: Path) -> None:
    empty = PackedMasks.pack(BoxedMasks.from_dense(np.zeros((2, 64, 64), bool)))
    write_sample(tmp_path / "a.npz", CachedSample(np.zeros((64, 64), np.uint8), (64, 64), empty))
    (picture,) = held_out_pictures(LeftHalf(), {"a": tmp_path / "a.npz"}, CLASSES, INPUTS, None, DECISION).values()
    assert near(picture, PREDICTED_RGB)[:, 31].all() and not near(picture, TRUTH_RGB).any()


@pytest.mark.parametrize("count", [1, COUNT, 11])
def test_a_few_images_spread_over_all_are_always_the_same(tmp_path: Path, count: int) -> None:
    files = make_files(tmp_path, count)
    chosen = list(held_out_pictures(LeftHalf(), files, CLASSES, INPUTS, None, DECISION))
    assert len(chosen) == len(set(chosen)) == min(count, COUNT)
    assert {chosen[0], chosen[-1]} == {min(files), max(files)}
    assert list(held_out_pictures(LeftHalf(), dict(reversed(files.items())), CLASSES, INPUTS, 32, DECISION)) == chosen


def test_large_images_are_reduced(tmp_path: Path) -> None:
    (picture,) = held_out_pictures(LeftHalf(), make_files(tmp_path, 1, 2 * LONGEST), CLASSES, INPUTS, None, DECISION).values()
    assert picture.shape == (LONGEST, LONGEST, 3)
