"""Rows of a plan, with steps that are not run."""

from __future__ import annotations

import pytest

from conftest import Fails
from handbone.config.params import Params
from handbone.planning.candidates import Candidate
from handbone.planning.cards import CARDS, Card, card_named, card_of_memory
from handbone.planning.ceiling import Ceiling
from handbone.planning.plan import HEADER, Step, line, plan
from handbone.training.trial import Trial

GIB = 2**30
CARD = Card("some", 10 * GIB)


def steps(side: int) -> Step:
    """A GiB for each image of 512 px, and 0.1 s for each step."""
    return lambda images: Trial(0.1, images * (side / 512) ** 2 * GIB)


def test_each_size_gets_the_largest_batch_of_which_a_tenth_of_the_card_stays_free() -> None:
    chosen = [Candidate(512), Candidate(1024), Candidate(2048, 512), Candidate(2048)]
    rows = list(plan(chosen, 640, CARD, steps))
    assert [row.batch for row in rows] == [8, 2, 8, None]


def test_steps_of_one_side_run_once() -> None:
    sides = []

    def counted(side: int) -> Step:
        sides.append(side)
        return steps(side)

    list(plan([Candidate(512), Candidate(1024, 512), Candidate(2048, 512)], 640, CARD, counted))
    assert sides == [512]


def test_times_are_those_of_all_folds() -> None:
    (row,) = plan([Candidate(512)], 640, CARD, steps)
    assert row.epoch_seconds(640) == pytest.approx(8)
    shown = line(row, Params(), 640, Ceiling(0.99, 0.98, "Pisiform"))  # 60 epochs of 5 folds
    assert "8 s" in shown and "40 min" in shown and "0.9900" in shown and "0.9800 Pisiform" in shown
    assert len(HEADER.split("  worst")[0]) == len(shown.split("  0.9800")[0])


def test_what_nobody_knows_is_no_number() -> None:
    (row,) = plan([Candidate(512)], 640, CARD, lambda side: lambda images: Trial(None, GIB))
    assert row.epoch_seconds(640) is None and line(row, Params(), 640, None).split()[3:] == ["?"] * 4
    (none,) = plan([Candidate(512)], 640, CARD, lambda side: lambda images: None)
    assert "none fits" in line(none, Params(), 640, None)


def test_cards_have_names_and_memory(fails: Fails) -> None:
    assert card_named("H100") is CARDS["h100"] and CARDS["h100"].memory == pytest.approx(79.2 * GIB)
    assert card_of_memory(24).memory < 24 * GIB and card_of_memory(24).half is None
    with fails("plan.card", "--gpu") as error:
        card_named("a10o")
    assert "a10" in str(error.value)
    for wrong in (0, -1, 1e9):
        with fails("plan.card", "--gpu-gb"):
            card_of_memory(wrong)
