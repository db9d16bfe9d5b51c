"""A training that is interrupted ends in the very weights of one that is not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from handbone.data.augment import Augmenter
from handbone.data.cache import CachedSample, write_sample
from handbone.data.dataset import EpochBatches, Recipe, TrainingSet, collate
from handbone.data.masks import BoxedMasks
from handbone.data.packed import PackedMasks
from handbone.errors import UserError
from handbone.params import TrainParams
from handbone.training.loop import Progress, Training, make_accelerator
from handbone.training.resume import Checkpoint

PARAMS = TrainParams(
    size=32, epochs=5, batch_size=2, lr=0.01, weight_decay=0.01, warmup=0.2, loss={"bce": 1.0, "dice": 1.0}, ema_decay=0.8,
    validate_every=2, precision="no", augment=[],
)  # fmt: skip


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    for index in range(5):
        masks = np.zeros((2, 64, 64), bool)
        masks[0, 8:24, 4 : 8 + 4 * index] = masks[1, :6] = True
        image = np.where(masks.any(0), 200, 40).astype(np.uint8) + rng.integers(0, 20, (64, 64), np.uint8)
        write_sample(tmp_path / f"{index}.npz", CachedSample(image, (64, 64), PackedMasks.pack(BoxedMasks.from_dense(masks))))
    return [tmp_path / f"{index}.npz" for index in range(5)]


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(8, 2, 3, padding=1))


def train(files: list[Path], folder: Path, stop_at: int | None = None, params: TrainParams = PARAMS) -> Progress:
    """Train; with `stop_at`, break off while that epoch's score is computed."""
    torch.manual_seed(3)
    augmenter = Augmenter([{"HorizontalFlip": {"p": 0.5}}], 1)
    samples = TrainingSet(files, Recipe(1, 32, (32, 32), 3), augmenter)
    batches = EpochBatches(len(files), params.batch_size, 3)
    loader: DataLoader[Any] = DataLoader(samples, batch_sampler=batches, collate_fn=collate)
    training = Training(network(), loader, batches, params, 3, make_accelerator("no"))

    def evaluate(model: nn.Module) -> float:
        if stop_at is not None and batches.epoch == stop_at:
            raise KilledError
        return float(sum(parameter.abs().sum() for parameter in model.parameters()))

    return training.run(evaluate, Checkpoint(folder), "test")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("stop_at", [2, 4, 5])
def test_resumed_equals_uninterrupted(files: list[Path], tmp_path: Path, stop_at: int) -> None:
    whole = train(files, tmp_path / "whole")
    with pytest.raises(KilledError):
        train(files, tmp_path / "resumed", stop_at)
    resumed = train(files, tmp_path / "resumed")
    assert same(whole.best_weights, resumed.best_weights)
    assert whole.rows == resumed.rows
    assert whole.best_epoch == resumed.best_epoch


def test_the_curve_has_a_row_an_epoch_and_a_score_where_it_is_asked_for(files: list[Path], tmp_path: Path) -> None:
    rows = train(files, tmp_path).rows
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["dice"] is not None for row in rows] == [False, True, False, True, True]
    assert rows[-1]["loss"] is not None
    assert rows[0]["loss"] is not None
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_a_diverged_training_is_an_error(files: list[Path], tmp_path: Path) -> None:
    diverging = PARAMS.model_copy(update={"lr": 1e30})
    with pytest.raises(UserError, match=r"lower train\.lr"):
        train(files, tmp_path, params=diverging)
