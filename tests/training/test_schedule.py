"""The learning rate rises, then falls."""

from typing import Any

import pytest

from handbone.config.params import TrainParams
from handbone.training.schedule import SWA_FACTOR, Schedule, halvings, scores_since_best
from training_params import PARAMS


def schedule(steps: int = 1, **changes: Any) -> Schedule:
    return Schedule(TrainParams.model_validate(PARAMS.model_dump() | changes), steps)


@pytest.mark.parametrize(("name", "middle"), [("cosine", 0.5), ("poly", 0.5**0.9)])
def test_it_rises_to_one_and_falls_to_zero(name: str, middle: float) -> None:
    rate = schedule(10, epochs=10, warmup=0.1, schedule=name)
    rates = [rate.factor(step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[0] > 0
    assert max(rates) == rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(middle)
    assert 0 < rates[99] < 0.02


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 1.0), (3, 1.0), (5, 0.0)])
@pytest.mark.parametrize("name", ["cosine", "poly", "plateau", "constant"])
def test_short_trainings_have_a_rate_at_every_step(steps: int, warmup: float, name: str) -> None:
    rate = schedule(steps, epochs=1, warmup=warmup, schedule=name)
    assert all(0 < rate.factor(step) <= 1 for step in range(steps))


def test_plateau_halves_the_rate_when_scores_stall() -> None:
    scores = [0.5, 0.6, 0.6, 0.55, 0.7, 0.69, 0.68, 0.67, 0.66]
    assert [halvings(scores[:count]) for count in range(10)] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 3]
    rate = schedule(10, epochs=10, warmup=0.0, schedule="plateau")
    assert rate.factor(50, scores[:3]) == 1 and rate.factor(50, scores[:4]) == 0.5
    assert schedule(10, epochs=10, warmup=0.0, schedule="constant").factor(50, scores) == 1


@pytest.mark.parametrize("name", ["cosine", "poly", "plateau", "constant"])
def test_the_rate_is_constant_while_weights_are_averaged(name: str) -> None:
    rate = schedule(10, epochs=10, warmup=0.0, swa_epochs=3, schedule=name)
    rates = [rate.factor(step) for step in range(100)]
    assert rates[:71] == sorted(rates[:71], reverse=True)
    assert rates[0] == 1 and rates[69] > SWA_FACTOR
    assert rates[70:] == pytest.approx([SWA_FACTOR] * 30)


def test_scores_since_the_best_one() -> None:
    assert [scores_since_best([]), scores_since_best([0.1]), scores_since_best([0.1, 0.3, 0.2, 0.3]), scores_since_best([0.1, 0.2])] == [
        0,
        0,
        2,
        0,
    ]
