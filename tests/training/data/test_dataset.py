"""The network's input: images, targets and weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from handbone.cache.sample import CachedSample, read_masks, write_sample
from handbone.masks.boxed import BoxedMasks
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.training.data.augment import Augmenter
from handbone.training.data.dataset import Batch, TrainingSet, TrainSampleSpec, collate
from handbone.training.data.sampling import PADDING, ResumableBatchSampler
from handbone.training.staging import stage_target
from handbone.training.target_buffer import TargetBuffer

CPU = torch.device("cpu")
TURN = [{"Affine": {"rotate": [-30, 30], "p": 1}}]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    for index, shape in enumerate([(64, 96), (96, 64)]):
        masks = PackedMasks.pack(BoxedMasks.from_dense(rng.random((3, *shape)) < 0.5))
        write_sample(tmp_path / f"{index}.npz", CachedSample(rng.integers(0, 256, shape, np.uint8), shape, masks))
    return [tmp_path / f"{index}.npz" for index in range(2)]


def spec(channels: int = 1) -> TrainSampleSpec:
    return TrainSampleSpec(channels=channels, size=48, padded_shape=(48, 48), seed=1)


def same(one: Batch, other: Batch) -> bool:
    return all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


def test_without_augmentation_the_target_is_the_area_average_of_the_full_masks(files: list[Path]) -> None:
    batch = collate([TrainingSet(files, spec(), Augmenter([], 1))[0, 0, 0]])
    target = TargetBuffer(CPU).fill(stage_target(batch.boxes, batch.values, (48, 48), CPU))[0]
    masks = read_masks(files[0])
    assert masks is not None and batch.images.shape == (1, 1, 48, 48) and target.shape == (3, 48, 48)
    expected = masks.unpack().dense().reshape(3, 32, 2, 48, 2).mean((2, 4))
    assert np.abs(target[:, :32].numpy() - expected).max() <= 0.5 / 255 + 1e-6
    assert not target[:, 32:].any() and not batch.images[0, :, 32:].any()


def test_a_sample_index_always_gives_the_same_sample(files: list[Path]) -> None:
    augmenter = Augmenter(TURN, 3)
    one, other = TrainingSet(files, spec(3), augmenter), TrainingSet(files, spec(3), augmenter)
    one[3, 1, 0], one[0, 0, 0]
    assert same(collate([one[2, 1, 0]]), collate([other[2, 1, 0]]))
    assert not np.array_equal(one[2, 1, 0][0], one[3, 1, 0][0])


def test_samples_in_memory_change_nothing(files: list[Path]) -> None:
    from_files, in_memory = (TrainingSet(files, spec(), Augmenter(TURN, 1)) for _ in range(2))
    in_memory.keep_in_memory([in_memory.load(index) for index in range(2)])
    for file in files:
        file.rename(file.with_suffix(".gone"))
    batch = collate([in_memory[1, 0, 0], in_memory[1, 1, 0]])
    for file in files:
        file.with_suffix(".gone").rename(file)
    assert same(batch, collate([from_files[1, 0, 0], from_files[1, 1, 0]]))


def test_workers_change_nothing(files: list[Path]) -> None:
    """Two epochs through the loader, in this process and in two workers."""
    samples = TrainingSet(files * 3, spec(), Augmenter(TURN, 1))
    epochs = []
    for workers in (0, 2):
        batches = ResumableBatchSampler([1.0] * len(samples), 2, seed=5)
        loader = DataLoader(samples, batch_sampler=batches, collate_fn=collate, num_workers=workers, persistent_workers=workers > 0)
        epochs.append([])
        for batches.epoch in (1, 2):
            epochs[-1] += list(loader)
    assert len(epochs[0]) == 6 and all(same(one, other) for one, other in zip(*epochs, strict=True))


def test_a_batch_holds_every_samples_coverage_one_after_the_other(files: list[Path]) -> None:
    samples = TrainingSet(files, spec(), Augmenter(TURN, 1))
    pair = [samples[0, 0, 0], samples[0, 1, 0]]
    batch = collate(pair)
    assert batch.images.shape == (2, 1, 48, 48) and batch.boxes.shape == (2, 3, 4) and batch.values.dtype == np.uint8
    assert np.array_equal(batch.values, np.concatenate([target.values for _, target, _ in pair]))


def test_a_grey_image_is_repeated_for_three_channels(files: list[Path]) -> None:
    image, _, _ = TrainingSet(files, spec(3), Augmenter([], 3))[0, 0, 0]
    assert image.shape == (3, 48, 48) and np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2])


def test_two_draws_of_an_image_differ_and_padding_has_weight_0(files: list[Path]) -> None:
    samples = TrainingSet(files, spec(), Augmenter(TURN, 1), [1.0, 0.5])
    batch = collate([samples[1, 1, 0], samples[1, 1, 1], samples[1, 1, PADDING]])
    assert batch.weights.tolist() == [0.5, 0.5, 0.0]
    assert not np.array_equal(batch.images[0], batch.images[1])


def dense(target: CroppedMaps, shape: tuple[int, int]) -> NDArray[np.float32]:
    return TargetBuffer(CPU).fill(stage_target(target.boxes[None], target.values, shape, CPU))[0].numpy()


def test_a_window_is_the_same_part_of_image_and_target(files: list[Path]) -> None:
    """The image has random pixels, so the position of a window can be found by comparison."""
    plain, cropped = (
        TrainingSet(files, TrainSampleSpec(1, 48, shape, 1, crop), Augmenter([], 1)) for shape, crop in (((48, 48), None), ((20, 20), 20))
    )
    image, target, _ = plain[0, 0, 0]
    places = set()
    for repeat in range(6):
        part, part_target, _ = cropped[0, 0, repeat]
        fits = [(y, x) for y in range(32 - 20 + 1) for x in range(48 - 20 + 1) if np.array_equal(image[0, y : y + 20, x : x + 20], part[0])]
        assert len(fits) == 1
        (y, x) = fits[0]
        places.add((y, x))
        assert np.array_equal(dense(part_target, (20, 20)), dense(target, (48, 48))[:, y : y + 20, x : x + 20])
    assert len(places) > 3


def test_windows_are_placed_on_a_class_of_crop_focus_by_its_factor(tmp_path: Path) -> None:
    masks = np.zeros((2, 96, 96), bool)
    masks[0, 2:6, 88:94] = True
    write_sample(tmp_path / "0.npz", CachedSample(np.zeros((96, 96), np.uint8), (96, 96), PackedMasks.pack(BoxedMasks.from_dense(masks))))
    shares = []
    for crop_focus in ({}, {0: 4.0, 1: 9.0}):  # class 1 is absent
        samples = TrainingSet([tmp_path / "0.npz"], TrainSampleSpec(1, 96, (24, 24), 1, 24, crop_focus), Augmenter([], 1))
        shares.append(np.mean([samples[0, 0, repeat][1].values.any() for repeat in range(300)]))
    assert shares[0] < 0.05 and 0.68 < shares[1] < 0.82  # three of four windows are centred on it


def test_a_hard_target_is_coverage_rounded(files: list[Path]) -> None:
    soft, hard = (
        TrainingSet(files, TrainSampleSpec(1, 48, (48, 48), 1, hard=hard), Augmenter(TURN, 1))[1, 0, 0][1] for hard in (False, True)
    )
    assert np.array_equal(hard.boxes, soft.boxes) and set(np.unique(hard.values)) == {0, 255}
    assert np.array_equal(hard.values == 255, soft.values >= 128)
