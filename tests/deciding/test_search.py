"""The search finds what is there, claims nothing on noise, and never scores a choice on the people who made it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from handbone.deciding.search import Floats, Found, Ints, People, accepted_best, best, groups_of, nested, search
from handbone.evaluation import bootstrap
from handbone.evaluation.bootstrap import paired_intervals

NAMES = np.array([f"ID{number:03}" for number in range(1000)])
Nested = Callable[..., tuple[Ints, Floats]]


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "DRAWS", 1000)


def simulated(seed: int, people: int = 40, classes: int = 12, candidates: int = 20, gain: float = 0.0) -> tuple[Floats, People]:
    """Dice of candidates that differ from the default by noise alone, which two images of a person share in part.

    gain: what candidate 1 is better by on average, in each even class.
    """
    rng, person = np.random.default_rng(seed), np.repeat(np.arange(people), 2)
    default = 0.95 - 0.02 * rng.exponential(1, (2 * people, classes, 1))
    noise = rng.normal(0, 0.01, (people, classes, candidates))[person] + rng.normal(0, 0.005, (2 * people, classes, candidates))
    noise[..., 0] = 0
    noise[:, ::2, 1] += gain
    return default + noise, NAMES[person]


def found(scores: Floats, people: People, **choose: Callable[[Floats, People], Ints]) -> Found:
    return search([scores] * 11, people.tolist(), **choose)


def leaky(scores: list[Floats], people: People, choose: Callable[[Floats, People], Ints]) -> tuple[Ints, Floats]:
    """`nested` with a leak: each search sees everybody."""
    candidates = choose(scores[0], people)
    gains = np.take_along_axis(scores[0], candidates[None, :, None], 2)[..., 0] - scores[0][..., 0]
    return np.stack([candidates] * len(scores)), gains


def without_acceptance(scores: Floats, people: People) -> Ints:
    return best(scores)


def sees_whom_it_scores(estimate: Nested) -> bool:
    """Whether the choice for a group of people changes with the scores of this group. NaN reaches everything that is computed from it."""
    scores, people = simulated(0)
    groups = groups_of(people)
    expected, _ = estimate([scores] * 10, people, accepted_best)
    poisoned = [np.where((groups == group)[:, None, None], np.nan, scores) for group in range(10)]
    chosen, _ = zip(*(estimate([array] * 10, people, accepted_best) for array in poisoned), strict=True)
    return any((chosen[group][group] != expected[group]).any() for group in range(10))


@pytest.mark.parametrize("candidates", [2, 20])
def test_on_pure_noise_no_gain_is_claimed(candidates: int) -> None:
    assert not [seed for seed in range(100) if found(*simulated(seed, 24, 6, candidates)).accepted]


def test_a_search_that_sees_the_people_it_is_scored_on_claims_gains_on_noise() -> None:
    """The leak that the nested estimate is there to prevent, injected: it is noticed both in what it claims and in what it reads."""
    claims = 0
    for seed in range(10):
        scores, people = simulated(seed)
        _, gains = leaky([scores], people, without_acceptance)
        claims += paired_intervals(gains.mean(1, keepdims=True), people.tolist()).low[0] > 0
    assert claims == 10
    assert sees_whom_it_scores(leaky)
    assert not sees_whom_it_scores(nested)


def test_a_true_gain_is_found_in_the_classes_that_have_it() -> None:
    result = found(*simulated(1, people=80, gain=0.01))
    assert result.accepted
    assert result.chosen[::2].tolist() == [1] * 6
    assert np.abs(result.gains[:, ::2].mean() - 0.01) < 0.003
    assert result.overall.low[0] < 0.005 < result.overall.high[0], "half of the classes gain 0.01"


def test_a_refused_search_keeps_the_defaults_everywhere() -> None:
    result = found(*simulated(4), choose=without_acceptance)
    assert result.best.any() and not result.accepted
    assert not result.chosen.any() and not result.chosen_by_group.any()
    assert (result.in_sample > 0).all(), "the gain in sample is there even if all candidates are equally good"


def test_a_class_without_a_gain_that_holds_keeps_the_default() -> None:
    taken = np.stack([accepted_best(*simulated(seed)) > 0 for seed in range(30)])
    assert taken.mean() < 0.4, "a class is let through easily: what is claimed is decided for all classes together"
    assert (best(simulated(0)[0]) > 0).all()


@pytest.mark.parametrize("gain", [0.0, 0.004])
def test_the_nested_gain_is_that_on_people_never_seen(gain: float) -> None:
    """Unbiased but for one group of people less to search on; the gain in sample is not."""
    estimates, true, in_sample = [], [], []
    for seed in range(150):
        scores, people = simulated(seed, people=130, classes=4, candidates=10, gain=gain)
        result = found(scores[:60], people[:60])
        unseen = scores[60:]
        taken = np.take_along_axis(unseen, result.best[None, :, None], 2)[..., 0] - unseen[..., 0]
        estimates.append(result.gains.mean())
        true.append(taken.mean())
        in_sample.append(result.in_sample.mean())
    error = np.std(np.subtract(estimates, true)) / np.sqrt(len(true))
    assert abs(np.mean(estimates) - np.mean(true)) < 3 * error + 0.0002
    assert np.mean(in_sample) > np.mean(true) + 5 * error


def test_of_equally_good_candidates_the_first_is_taken() -> None:
    scores = np.full((40, 2, 4), 0.5)
    scores[:, 0, 2:] = 0.75
    assert accepted_best(scores, NAMES[:40]).tolist() == [2, 0]


def test_the_order_of_images_changes_nothing() -> None:
    scores, people = simulated(2, gain=0.01)
    order = np.random.default_rng(0).permutation(len(people))
    one, other = found(scores, people), found(scores[order], people[order])
    assert one.accepted == other.accepted
    assert one.best.tolist() == other.best.tolist() and one.by_group.tolist() == other.by_group.tolist()
    np.testing.assert_allclose(one.gains[order], other.gains, rtol=0, atol=0)
    np.testing.assert_allclose([one.overall.low, one.overall.high], [other.overall.low, other.overall.high], atol=1e-12)


def test_the_same_scores_give_the_same_result() -> None:
    one, other = (found(*simulated(3, gain=0.01)) for _ in range(2))
    assert one.gains.tobytes() == other.gains.tobytes() and one.per_class.low.tobytes() == other.per_class.low.tobytes()


def test_no_person_is_in_two_groups() -> None:
    people = np.random.default_rng(0).choice(NAMES[:33], 200)
    pairs = set(zip(people.tolist(), groups_of(people).tolist(), strict=True))
    assert len(pairs) == len(set(people))
    sizes = np.bincount([group for _, group in pairs])
    assert len(sizes) == 10 and sizes.max() - sizes.min() <= 1


def test_a_group_can_have_scores_of_its_own() -> None:
    """What earlier searches found without a group is the ground of this search's estimate on it."""
    scores, people = simulated(5, gain=0.01)
    others = [scores.copy() for _ in range(10)]
    others[4][..., 1] = 0
    result = search([scores, *others], people.tolist())
    assert [bool(row[::2].all()) for row in result.by_group == 1] == [group != 4 for group in range(10)]


def test_what_all_people_say_is_not_taken_from_a_group() -> None:
    scores, people = simulated(1, people=80, gain=0.01)
    result = search([scores, *[scores[..., :1].repeat(20, 2)] * 10], people.tolist())
    assert result.best[::2].tolist() == [1] * 6 and (result.in_sample[::2] > 0).all()
    assert not result.by_group.any() and not result.accepted


@pytest.mark.parametrize(("other", "taken"), [(0.05, 0), (0.09, 0), (0.11, 1), (0.2, 1)])
def test_a_gain_is_taken_if_it_is_more_than_a_corrected_standard_error(other: float, taken: int) -> None:
    """Two people who gain 1 and x: a mean of (1 + x) / 2, an error of (1 - x) / √8, corrected by the root of 1 + 2 / 1; so x > 0.101."""
    scores = np.array([[[0, 1]], [[0, other]]])
    assert accepted_best(scores, NAMES[:2]).tolist() == [taken]


@pytest.mark.parametrize("people", [2, 3, 4])
def test_with_few_people_nothing_is_claimed(people: int) -> None:
    scores, names = simulated(0, people=people, gain=0.02)
    assert not search([scores] * (people + 1), names.tolist()).accepted


def test_intervals_are_wider_by_the_correction_for_ten_searches_that_share_people() -> None:
    scores, people = simulated(1, gain=0.01)
    result = found(scores, people)
    plain = paired_intervals(result.gains.mean(1, keepdims=True), people.tolist(), level=0.99)
    expected = (plain.high - plain.low) * np.sqrt(1 + 10 / 9)
    np.testing.assert_allclose(result.overall.high - result.overall.low, expected, rtol=1e-9)


def test_with_two_groups_of_people_each_decides_about_the_other() -> None:
    scores = np.full((2, 1, 2), 0.5)
    scores[:, 0, 1] = 0.75
    assert accepted_best(scores, NAMES[:2]).tolist() == [1]
    assert accepted_best(scores[:1], NAMES[:1]).tolist() == [0], "one person alone finds nothing that holds"
