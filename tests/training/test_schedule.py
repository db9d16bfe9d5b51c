"""Up, then down."""

import pytest

from handbone.training.schedule import warmup_cosine


def test_it_rises_to_one_and_falls_to_nothing() -> None:
    factor = warmup_cosine(100, 0.1)
    rates = [factor(step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[0] > 0
    assert max(rates) == rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.001


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 1.0), (3, 1.0), (5, 0.0)])
def test_short_trainings_have_a_rate_at_every_step(steps: int, warmup: float) -> None:
    factor = warmup_cosine(steps, warmup)
    assert all(0 < factor(step) <= 1 for step in range(steps))
