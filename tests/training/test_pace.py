"""Speed and the expected end of a training."""

import pytest

from handbone.training.pace import RECENT, Pace, is_scored


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def run(pace: Pace, clock: Clock, seconds: float, batches: int, score: float | None = None) -> None:
    pace.begin()
    clock.now += seconds
    pace.trained(batches)
    if score is not None:
        clock.now += score
        pace.scored()


def test_the_time_left_counts_epochs_and_the_scores_that_come(clock: Clock) -> None:
    pace = Pace(10, 4, images=40, batches=5, clock=clock)
    assert pace.images_per_second is None
    for epoch in range(1, 6):
        run(pace, clock, 10, 5, 3 if epoch == 4 else None)
    assert pace.images_per_second == 4
    assert pace.seconds_left(5) == 5 * 10 + 2 * 3  # scores after epochs 8 and 10


def test_the_rest_of_an_epoch_counts_as_a_whole_one(clock: Clock) -> None:
    pace = Pace(2, 1, images=40, batches=5, clock=clock)
    run(pace, clock, 4, 2)
    assert pace.images_per_second == 4 and pace.seconds_left(1) == 10


def test_recent_epochs_count(clock: Clock) -> None:
    pace = Pace(100, 200, images=1, batches=1, clock=clock)
    for seconds in [90, *[2] * RECENT]:
        run(pace, clock, seconds, 1)
    assert pace.seconds_left(99) == 2


def test_every_so_many_epochs_and_the_last_one_are_scored() -> None:
    assert [epoch for epoch in range(1, 8) if is_scored(epoch, 7, 3)] == [3, 6, 7]
