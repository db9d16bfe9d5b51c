"""The chosen images: the worst, the median and the best, each once."""

from __future__ import annotations

import numpy as np
import pytest

from handbone.report.cases import choose_images
from handbone.report.scores import Scores


def scores(means: list[float]) -> Scores:
    dice = np.array(means)[:, None]
    keys = [f"ID{at}/x" for at in range(len(means))]
    return Scores(keys, keys, [0] * len(means), ["Ulna"], dice, dice, dice, np.zeros((*dice.shape, 2)))


def test_worst_median_and_best_come_from_the_worst_on() -> None:
    chosen = choose_images(scores([0.5, 0.1, 0.9, 0.3, 0.8, 0.2, 0.7]), 2)
    assert chosen == {1: "worst", 5: "2nd worst", 0: "median", 4: "2nd best", 2: "best"}
    assert list(chosen) == [1, 5, 0, 4, 2]


@pytest.mark.parametrize("images", range(1, 9))
def test_no_image_comes_twice_and_none_is_left_out_if_there_are_few(images: int) -> None:
    chosen = choose_images(scores(np.linspace(0.1, 0.9, images).tolist()), 3)
    assert list(chosen) == sorted(chosen) and len(chosen) == min(images, 7)
    assert list(chosen.values()).count("median") == (images % 2 or images > 6)
