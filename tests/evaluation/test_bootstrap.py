"""The intervals hold what they promise, on simulated experiments whose true difference is known."""

from __future__ import annotations

import numpy as np
import pytest

from handbone.evaluation import bootstrap
from handbone.evaluation.bootstrap import paired_intervals

TRUE = 0.003  # the true difference of Dice
NAMES = np.array([f"ID{number:03}" for number in range(200)])


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "DRAWS", 1000)


def simulated(rng: np.random.Generator, people: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Differences of one to three images per person, which are alike within a person, and skewed as Dice is."""
    images = rng.integers(1, 4, people)
    person = np.repeat(np.arange(people), images)
    of_people = 0.02 * (rng.exponential(1, (people, classes)) - 1)
    return TRUE + of_people[person] + rng.normal(0, 0.01, (len(person), classes)), NAMES[person]


@pytest.mark.parametrize("people", [15, 60])
def test_an_interval_covers_the_truth_in_95_percent_of_experiments(people: int) -> None:
    rng, repetitions = np.random.default_rng(people), 600
    intervals = [paired_intervals(*simulated(rng, people, 1)) for _ in range(repetitions)]
    covered = np.mean([found.low[0] <= TRUE <= found.high[0] for found in intervals])
    monte_carlo_error = np.sqrt(0.95 * 0.05 / repetitions)
    assert abs(covered - 0.95) < 3 * monte_carlo_error


def test_intervals_of_many_classes_hold_together() -> None:
    """Where no class differs, one of ten is not found to differ more often than a single one would be."""
    rng, repetitions = np.random.default_rng(0), 150
    experiments = (simulated(rng, 30, 10) for _ in range(repetitions))
    false = np.mean([paired_intervals(differences - TRUE, people).beyond_noise.any() for differences, people in experiments])
    assert false < 0.05 + 3 * np.sqrt(0.95 * 0.05 / repetitions)


def test_classes_that_differ_are_found_among_those_that_do_not() -> None:
    differences, people = simulated(np.random.default_rng(1), 100, 29)
    differences -= TRUE
    differences[:, 3] += 0.03
    differences[:, 20] -= 0.03
    assert np.flatnonzero(paired_intervals(differences, people).beyond_noise).tolist() == [3, 20]


def test_pairing_makes_the_interval_narrower() -> None:
    """A hard image is hard for both. Unpaired, the variances of both experiments would add up."""
    rng = np.random.default_rng(2)
    hard, noise = rng.normal(0.9, 0.05, (200, 1)), rng.normal(0, 0.005, (2, 200, 1))
    first, second = hard + noise
    paired, one, two = (paired_intervals(scores - scores.mean(), NAMES) for scores in (second - first, first, second))
    unpaired = np.hypot(one.high - one.low, two.high - two.low)
    assert paired.high - paired.low < 0.3 * unpaired


def test_images_of_one_person_are_drawn_together() -> None:
    """Five equal images of a person tell as much as one: the interval is that of the people, not of five times as many images."""
    differences = np.random.default_rng(3).normal(0, 0.02, (40, 2))
    once = paired_intervals(differences, NAMES[:40])
    repeated = paired_intervals(np.repeat(differences, 5, 0), np.repeat(NAMES[:40], 5))
    assert np.allclose(repeated.low, once.low) and np.allclose(repeated.high, once.high)
    alone = paired_intervals(np.repeat(differences, 5, 0), NAMES)
    assert np.all(alone.high - alone.low < 0.6 * (repeated.high - repeated.low))


def test_the_mean_is_over_images() -> None:
    """A person with three images counts three times, as in the competition's score."""
    differences, people = simulated(np.random.default_rng(4), 20, 3)
    assert np.allclose(paired_intervals(differences, people).mean, differences.mean(0))


def test_the_same_seed_gives_the_same_interval_and_the_order_of_images_does_not_matter() -> None:
    differences, people = simulated(np.random.default_rng(5), 20, 2)
    first = paired_intervals(differences, people)
    assert np.array_equal(first.low, paired_intervals(differences, people).low)
    assert not np.array_equal(first.low, paired_intervals(differences, people, seed=1).low)
    assert np.allclose(first.low, paired_intervals(differences[::-1], people[::-1]).low)


def test_equal_experiments_differ_by_nothing() -> None:
    found = paired_intervals(np.zeros((6, 2)), NAMES[:6])
    assert found.low.tolist() == found.high.tolist() == [0, 0] and not found.beyond_noise.any()


def test_a_class_in_which_few_people_differ_is_not_judged_and_widens_no_other_interval() -> None:
    differences = np.random.default_rng(6).normal(0.01, 0.01, (40, 2))
    alone = paired_intervals(differences[:, :1], NAMES[:40])
    differences[3:, 1] = 0
    found = paired_intervals(differences, NAMES[:40])
    assert (found.low[1], found.high[1]) == (-1, 1)
    assert found.low[0] == pytest.approx(alone.low[0]) and found.beyond_noise.tolist() == [True, False]


def test_two_people_tell_nothing_and_one_cannot_be_asked() -> None:
    found = paired_intervals(np.array([[0.1], [0.2]]), ["a", "b"])
    assert (found.low[0], found.high[0]) == (-1, 1)
    with pytest.raises(ValueError, match="one person"):
        paired_intervals(np.array([[0.1], [0.2]]), ["a", "a"])
