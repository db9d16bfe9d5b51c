"""What an epoch draws, and how it is divided among processes."""

import numpy as np
import pandas as pd
import pytest

from conftest import Fails
from handbone.training.data.sampling import PADDING, ResumableBatchSampler, SampleIndex, class_factors, drop_excluded, sampling_rates

IMAGES = pd.DataFrame(
    {"key": ["A/1", "A/2", "B/1", "C/1"], "person": ["A", "A", "B", "C"], "person_wrist": ["bent", "bent", "straight", ""]}
)
AREAS = pd.DataFrame(
    [("A/1", "x", 5), ("A/1", "y", 0), ("B/1", "y", 3), ("C/1", "x", 2), ("C/1", "y", 9)], columns=["key", "class", "pixels"]
)


def draw(batches: ResumableBatchSampler, epoch: int) -> list[list[SampleIndex]]:
    batches.epoch = epoch
    return list(batches)


def test_every_epoch_sees_every_image_once_in_even_batches() -> None:
    batches = ResumableBatchSampler([1.0] * 9, 4, seed=0)
    orders = []
    for epoch in (1, 2):
        found = draw(batches, epoch)
        assert len(batches) == len(found) == 3 and {len(batch) for batch in found} == {3}
        orders.append([index for batch in found for _, index, _ in batch])
        assert sorted(orders[-1]) == list(range(9)) and {number for batch in found for number, _, _ in batch} == {epoch}
    assert orders[0] != orders[1]


@pytest.mark.parametrize(("images", "batch_size"), [(640, 6), (640, 8), (5, 2), (1, 4), (10, 4)])
def test_the_last_batches_may_have_an_image_less(images: int, batch_size: int) -> None:
    batches = ResumableBatchSampler([1.0] * images, batch_size, 0)
    sizes = [len(batch) for batch in draw(batches, 1)]
    assert sizes == [sizes[0]] * (len(batches) - batches.smaller) + [sizes[0] - 1] * batches.smaller


def test_no_batch_has_a_single_image() -> None:
    assert sorted(len(batch) for batch in draw(ResumableBatchSampler([1.0] * 5, 4, 0), 0)) == [2, 3]


def test_images_are_drawn_by_their_rates() -> None:
    batches = ResumableBatchSampler([3.0, 1.0, 0.5, 0.0, 0.5], 2, seed=3)
    counts = np.zeros(5)
    for epoch in range(40):
        indices = [sample_index for batch in draw(batches, epoch) for sample_index in batch]
        assert len(indices) == 5 and len(set(indices)) == 5
        in_epoch = np.bincount([index for _, index, _ in indices], minlength=5)
        assert in_epoch[0] == 3 and in_epoch[1] == 1 and in_epoch[3] == 0
        assert sorted(repeat for _, index, repeat in indices if index == 0) == [0, 1, 2]
        counts += in_epoch
    assert counts[2] + counts[4] == 40 and 10 < counts[2] < 30


@pytest.mark.parametrize(("length", "batch_size", "world_size"), [(10, 4, 2), (7, 3, 2), (5, 2, 3), (9, 4, 4)])
def test_processes_share_every_batch(length: int, batch_size: int, world_size: int) -> None:
    whole = draw(ResumableBatchSampler([1.0] * length, batch_size, 5), 2)
    shares = [draw(ResumableBatchSampler([1.0] * length, batch_size, 5, rank, world_size), 2) for rank in range(world_size)]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert all(parts)
        assert [sample_index for part in parts for sample_index in part if sample_index[2] != PADDING] == batch


def test_an_interrupted_epoch_resumes_with_the_batches_that_are_left() -> None:
    batches = ResumableBatchSampler([1.0, 2.0, 1.0, 1.0], 2, 7)
    whole = draw(batches, 3)
    batches.start = 2
    assert draw(batches, 3) == whole[2:]


def test_factors_of_people_samples_and_attributes_multiply_and_the_largest_class_factor_counts() -> None:
    oversample = {"A": 2.0, "A/2": 3.0, "wrist=bent": 1.5, "x": 4.0, "y": 2.5}
    assert sampling_rates(IMAGES, IMAGES, AREAS, oversample, ["x", "y"]).tolist() == [12.0, 9.0, 2.5, 4.0]
    assert sampling_rates(IMAGES, IMAGES, AREAS, {}, ["x", "y"]).tolist() == [1.0] * 4
    assert sampling_rates(IMAGES[2:], IMAGES, AREAS, {"A": 7.0}, ["x", "y"]).tolist() == [1.0, 1.0]


def test_a_factor_of_0_leaves_images_out_but_not_all_of_them(fails: Fails) -> None:
    assert sampling_rates(IMAGES, IMAGES, AREAS, {"x": 0.0}, ["x", "y"]).tolist() == [0.0, 1.0, 1.0, 0.0]
    assert sampling_rates(IMAGES, IMAGES, AREAS, {"x": 0.0, "y": 2.0}, ["x", "y"]).tolist() == [0.0, 1.0, 2.0, 2.0]
    with fails("train.oversample_nothing", "train.oversample"):
        sampling_rates(IMAGES, IMAGES, AREAS, {"A": 0.0, "B": 0.0, "C": 0.0}, ["x", "y"])


def test_attributes_and_values_may_contain_an_equals_sign() -> None:
    images = IMAGES.assign(**{"person_a=b": ["c", "d", "c=e", ""]})
    assert sampling_rates(images, images, AREAS, {"a=b=c": 2.0, "a=b=c=e": 3.0}, []).tolist() == [2.0, 1.0, 3.0, 1.0]


def test_unknown_names_are_listed(fails: Fails) -> None:
    with fails("train.oversample", "train.oversample: wrist=bnet", "train.oversample: D") as caught:
        sampling_rates(IMAGES, IMAGES, AREAS, {"wrist=bnet": 2, "D": 2, "C": 2}, ["x", "y"])
    assert "wrist=bent" in caught.value.problems[0].fix
    with fails("train.exclude", "train.exclude: A/3", "train.exclude: D"):
        drop_excluded(IMAGES, ["A/3", "D", "B"], IMAGES)


def test_names_are_compared_in_composed_form() -> None:
    """macOS names files with the letters and their accents apart, which look the same."""
    apart, together = "Ko\u0308", "K\u00f6"
    for stored, given in [(apart, together), (together, apart)]:
        images = pd.DataFrame({"key": [f"{stored}/{stored}", "B/1"], "person": [stored, "B"], f"person_{stored}": [stored, "x"]})
        areas = pd.DataFrame({"key": [f"{stored}/{stored}", "B/1"], "class": [f"c{stored}", "y"], "pixels": 1})
        for name in (given, f"{given}/{given}", f"{given}={given}", f"c{given}"):
            assert sampling_rates(images, images, areas, {name: 3.0}, [f"c{stored}", "y"]).tolist() == [3.0, 1.0]
        assert class_factors({f"c{given}": 3.0}, ["y", f"c{stored}"]) == {1: 3.0}
        for name in (given, f"{given}/{given}"):
            assert drop_excluded(images, [name], images)["key"].tolist() == ["B/1"]


def test_people_and_samples_can_be_excluded() -> None:
    assert drop_excluded(IMAGES, ["A", "C/1"], IMAGES)["key"].tolist() == ["B/1"]
