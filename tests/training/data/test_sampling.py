"""What an epoch draws, and how it is shared out."""

import numpy as np
import pandas as pd
import pytest

from handbone.training.data.sampling import PADDING, ResumableBatchSampler, draws, without
from handbone.utils.errors import UserError

IMAGES = pd.DataFrame(
    {"key": ["A/1", "A/2", "B/1", "C/1"], "person": ["A", "A", "B", "C"], "person_wrist": ["bent", "bent", "straight", ""]}
)
AREAS = pd.DataFrame(
    [("A/1", "x", 5), ("A/1", "y", 0), ("B/1", "y", 3), ("C/1", "x", 2), ("C/1", "y", 9)], columns=["key", "class", "pixels"]
)


def drawn(batches: ResumableBatchSampler, epoch: int) -> list[list[tuple[int, int, int]]]:
    batches.epoch = epoch
    return list(batches)


def test_every_epoch_sees_every_image_once_in_even_batches() -> None:
    batches = ResumableBatchSampler([1.0] * 9, 4, seed=0)
    orders = []
    for epoch in (1, 2):
        found = drawn(batches, epoch)
        assert len(batches) == len(found) == 3 and {len(batch) for batch in found} == {3}
        orders.append([index for batch in found for _, index, _ in batch])
        assert sorted(orders[-1]) == list(range(9)) and {number for batch in found for number, _, _ in batch} == {epoch}
    assert orders[0] != orders[1]


def test_no_batch_is_left_with_one_image() -> None:
    assert sorted(len(batch) for batch in drawn(ResumableBatchSampler([1.0] * 5, 4, 0), 0)) == [2, 3]


def test_images_are_drawn_as_often_as_is_asked_for() -> None:
    times = [3.0, 1.0, 0.5, 0.0, 0.5]
    batches = ResumableBatchSampler(times, 2, seed=3)
    counts = np.zeros(5)
    for epoch in range(40):
        tickets = [ticket for batch in drawn(batches, epoch) for ticket in batch]
        assert len(tickets) == 5 and len(set(tickets)) == 5
        own = np.bincount([index for _, index, _ in tickets], minlength=5)
        assert own[0] == 3 and own[1] == 1 and own[3] == 0
        assert sorted(draw for _, index, draw in tickets if index == 0) == [0, 1, 2]
        counts += own
    assert counts[2] + counts[4] == 40 and 10 < counts[2] < 30


@pytest.mark.parametrize(("length", "batch_size", "world"), [(10, 4, 2), (7, 3, 2), (5, 2, 3), (9, 4, 4)])
def test_processes_share_every_batch(length: int, batch_size: int, world: int) -> None:
    whole = drawn(ResumableBatchSampler([1.0] * length, batch_size, 5), 2)
    shares = [drawn(ResumableBatchSampler([1.0] * length, batch_size, 5, rank, world), 2) for rank in range(world)]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert all(parts)
        assert [ticket for part in parts for ticket in part if ticket[2] != PADDING] == batch


def test_an_epoch_that_was_broken_off_goes_on_with_the_batches_that_are_left() -> None:
    batches = ResumableBatchSampler([1.0, 2.0, 1.0, 1.0], 2, 7)
    whole = drawn(batches, 3)
    batches.start = 2
    assert drawn(batches, 3) == whole[2:]


def test_factors_of_people_samples_and_attributes_multiply_and_the_hardest_class_counts() -> None:
    oversample = {"A": 2.0, "A/2": 3.0, "wrist=bent": 1.5, "x": 4.0, "y": 2.5}
    assert draws(IMAGES, IMAGES, AREAS, oversample, ["x", "y"]).tolist() == [12.0, 9.0, 2.5, 4.0]
    assert draws(IMAGES, IMAGES, AREAS, {}, ["x", "y"]).tolist() == [1.0] * 4
    assert draws(IMAGES[2:], IMAGES, AREAS, {"A": 7.0}, ["x", "y"]).tolist() == [1.0, 1.0]


def test_a_factor_of_0_leaves_out_but_not_all() -> None:
    assert draws(IMAGES, IMAGES, AREAS, {"x": 0.0}, ["x", "y"]).tolist() == [0.0, 1.0, 1.0, 0.0]
    assert draws(IMAGES, IMAGES, AREAS, {"x": 0.0, "y": 2.0}, ["x", "y"]).tolist() == [0.0, 1.0, 2.0, 2.0]
    with pytest.raises(UserError, match="some image to be drawn"):
        draws(IMAGES, IMAGES, AREAS, {"A": 0.0, "B": 0.0, "C": 0.0}, ["x", "y"])


def test_attributes_and_values_may_hold_the_sign_between_them() -> None:
    images = IMAGES.assign(**{"person_a=b": ["c", "d", "c=e", ""]})
    assert draws(images, images, AREAS, {"a=b=c": 2.0, "a=b=c=e": 3.0}, []).tolist() == [2.0, 1.0, 3.0, 1.0]


def test_names_that_fit_nothing_are_listed() -> None:
    with pytest.raises(UserError, match=r"(?s)2 problems.*wrist=bnet.*did you mean wrist=bent.*'D'"):
        draws(IMAGES, IMAGES, AREAS, {"wrist=bnet": 2, "D": 2, "C": 2}, ["x", "y"])
    with pytest.raises(UserError, match=r"(?s)2 problems.*A/3.*'D'"):
        without(IMAGES, ["A/3", "D", "B"], IMAGES)


def test_people_and_samples_can_be_left_out() -> None:
    assert without(IMAGES, ["A", "C/1"], IMAGES)["key"].tolist() == ["B/1"]
