"""What the network is fed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from handbone.data.augment import Augmenter
from handbone.data.cache import CachedSample, read_masks, write_sample
from handbone.data.dataset import Batch, EpochBatches, Recipe, TrainingSet, collate
from handbone.data.masks import BoxedMasks
from handbone.data.packed import PackedMasks
from handbone.training.targets import TargetBuffer

TURN = [{"Affine": {"rotate": [-30, 30], "p": 1}}]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    for index, shape in enumerate([(64, 96), (96, 64)]):
        masks = PackedMasks.pack(BoxedMasks.from_dense(rng.random((3, *shape)) < 0.5))
        write_sample(tmp_path / f"{index}.npz", CachedSample(rng.integers(0, 256, shape, np.uint8), shape, masks))
    return [tmp_path / f"{index}.npz" for index in range(2)]


def recipe(channels: int = 1) -> Recipe:
    return Recipe(channels=channels, size=48, canvas=(48, 48), seed=1)


def same(one: Batch, other: Batch) -> bool:
    return all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


def test_without_augmentation_the_target_is_the_area_average_of_the_full_masks(files: list[Path]) -> None:
    batch = collate([TrainingSet(files, recipe(), Augmenter([], 1))[0, 0]])
    target = TargetBuffer(torch.device("cpu")).fill(batch.boxes, batch.values, (48, 48))[0]
    masks = read_masks(files[0])
    assert masks is not None and batch.images.shape == (1, 1, 48, 48) and target.shape == (3, 48, 48)
    expected = masks.unpack().dense().reshape(3, 32, 2, 48, 2).mean((2, 4))
    assert np.abs(target[:, :32].numpy() - expected).max() <= 0.5 / 255 + 1e-6
    assert not target[:, 32:].any() and not batch.images[0, :, 32:].any()


def test_a_ticket_gives_the_same_sample_whenever_it_is_drawn(files: list[Path]) -> None:
    augmenter = Augmenter(TURN, 3)
    one, other = TrainingSet(files, recipe(3), augmenter), TrainingSet(files, recipe(3), augmenter)
    one[3, 1], one[0, 0]
    assert same(collate([one[2, 1]]), collate([other[2, 1]]))
    assert not np.array_equal(one[2, 1][0], one[3, 1][0])


def test_samples_in_memory_change_nothing(files: list[Path]) -> None:
    read, kept = (TrainingSet(files, recipe(), Augmenter(TURN, 1)) for _ in range(2))
    kept.keep([kept.load(index) for index in range(2)])
    for file in files:
        file.rename(file.with_suffix(".gone"))
    drawn = collate([kept[1, 0], kept[1, 1]])
    for file in files:
        file.with_suffix(".gone").rename(file)
    assert same(drawn, collate([read[1, 0], read[1, 1]]))


def test_workers_change_nothing(files: list[Path]) -> None:
    """Two epochs through the loader, in its own process and in two others."""
    samples = TrainingSet(files * 3, recipe(), Augmenter(TURN, 1))
    drawn = []
    for workers in (0, 2):
        batches = EpochBatches(len(samples), 2, seed=5)
        loader = DataLoader(samples, batch_sampler=batches, collate_fn=collate, num_workers=workers, persistent_workers=workers > 0)
        drawn.append([])
        for batches.epoch in (1, 2):
            drawn[-1] += list(loader)
    assert len(drawn[0]) == 6 and all(same(one, other) for one, other in zip(*drawn, strict=True))


def test_a_batch_holds_every_samples_coverage_one_after_the_other(files: list[Path]) -> None:
    samples = TrainingSet(files, recipe(), Augmenter(TURN, 1))
    drawn = [samples[0, 0], samples[0, 1]]
    batch = collate(drawn)
    assert batch.images.shape == (2, 1, 48, 48) and batch.boxes.shape == (2, 3, 4) and batch.values.dtype == np.uint8
    assert np.array_equal(batch.values, np.concatenate([target.values for _, target in drawn]))


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


def test_grey_is_repeated_where_three_channels_are_asked_for(files: list[Path]) -> None:
    image, _ = TrainingSet(files, recipe(3), Augmenter([], 3))[0, 0]
    assert image.shape == (3, 48, 48) and np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2])
