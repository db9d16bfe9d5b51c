"""What the network is fed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from handbone.data.augment import Augmenter
from handbone.data.cache import CachedSample, write_sample
from handbone.data.dataset import EpochBatches, Recipe, TrainingSet, network_image
from handbone.data.masks import BoxedMasks


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    for index, shape in enumerate([(64, 96), (96, 64)]):
        masks = BoxedMasks.from_dense(rng.random((3, *shape)) < 0.5)
        write_sample(tmp_path / f"{index}.npz", CachedSample(rng.integers(0, 256, shape, np.uint8), shape, masks))
    return [tmp_path / f"{index}.npz" for index in range(2)]


def recipe(channels: int = 1) -> Recipe:
    return Recipe(classes=3, channels=channels, size=48, canvas=(48, 48), seed=1)


def test_without_augmentation_the_target_is_the_area_average_of_the_full_masks(files: list[Path]) -> None:
    from handbone.data.cache import read_masks

    image, target = TrainingSet(files, recipe(), Augmenter([], 1))[0, 0]
    masks = read_masks(files[0])
    assert masks is not None and image.shape == (1, 48, 48) and target.shape == (3, 48, 48)
    expected = masks.dense().reshape(3, 32, 2, 48, 2).mean((2, 4))
    assert np.abs(target[:, :32].numpy() / 255 - expected).max() <= 0.5 / 255 + 1e-9
    assert not target[:, 32:].any() and not image[:, 32:].any()


def test_a_ticket_gives_the_same_sample_whenever_it_is_drawn(files: list[Path]) -> None:
    augmenter = Augmenter([{"Affine": {"rotate": [-30, 30], "p": 1}}], 3)
    one, other = TrainingSet(files, recipe(3), augmenter), TrainingSet(files, recipe(3), augmenter)
    one[3, 1], one[0, 0]
    assert all((a == b).all() for a, b in zip(one[2, 1], other[2, 1], strict=True))
    assert not (one[2, 1][0] == one[3, 1][0]).all()


def test_workers_change_nothing(files: list[Path]) -> None:
    """Two epochs through the loader, in its own process and in two others."""
    samples = TrainingSet(files * 3, recipe(), Augmenter([{"Affine": {"rotate": [-30, 30], "p": 1}}], 1))
    drawn = []
    for workers in (0, 2):
        batches = EpochBatches(len(samples), 2, seed=5)
        loader = DataLoader(samples, batch_sampler=batches, num_workers=workers, persistent_workers=workers > 0)
        drawn.append([])
        for batches.epoch in (1, 2):
            drawn[-1] += [tensor for batch in loader for tensor in batch]
    assert all(torch.equal(one, other) for one, other in zip(*drawn, strict=True))


def test_every_epoch_sees_every_image_once_in_even_batches() -> None:
    batches = EpochBatches(9, 4, seed=0)
    orders = []
    for epoch in (1, 2):
        batches.epoch = epoch
        drawn = list(batches)
        assert len(batches) == len(drawn) == 3 and {len(batch) for batch in drawn} == {3}
        orders.append([index for batch in drawn for _, index in batch])
        assert sorted(orders[-1]) == list(range(9)) and {number for batch in drawn for number, _ in batch} == {epoch}
    assert orders[0] != orders[1]


def test_no_batch_is_left_with_one_image() -> None:
    assert sorted(len(batch) for batch in EpochBatches(5, 4, 0)) == [2, 3]


def test_grey_is_repeated_and_colour_kept() -> None:
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert network_image(grey, (4, 4), 3).tolist() == [grey.tolist()] * 3
    colour = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    assert network_image(colour, (4, 4), 3).tolist() == colour.transpose(2, 0, 1).tolist()
