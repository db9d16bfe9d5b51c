"""The study of searches runs on a finished run, and its noise has no gain in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks import deciding
from handbone.deciding.procedure import HeldOutImages
from handbone.masks.boxed import BoxedMasks
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks


@pytest.mark.parametrize("kind", ["of images", "of people", "smooth", "rare"])
def test_noise_has_no_gain(kind: str) -> None:
    scores = deciding.noise(kind, np.random.default_rng(0), 300, 10, 8)
    gains = scores - scores[..., :1]
    assert scores.shape == (600, 10, 8) and np.any(gains)
    assert np.abs(gains.mean((0, 1))).max() < 0.001


def test_the_gain_is_as_large_as_asked_for() -> None:
    scores = deciding.with_gain(2.0, np.random.default_rng(0), 400, 10, 4)
    of_person = (scores - scores[..., :1]).reshape(400, 2, 10, 4).mean(1)  # (people, classes, candidates)
    gains = of_person[:, ::2, 1].mean(1)
    assert gains.mean() / gains.std() == pytest.approx(2, abs=0.3)
    assert abs(of_person[:, 1::2].mean()) < 0.001


def test_a_large_gain_is_accepted_with_enough_people_and_noise_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "POWER_PEOPLE", (3, 20))
    monkeypatch.setattr(deciding, "POWER_CLASSES", 4)
    monkeypatch.setattr(deciding, "POWER_REPETITIONS", 3)
    few, many = deciding.power()
    assert few == {"people": 3, "none": 0, "0.5": 0, "1": 0, "2": 0}
    assert many["2"] == 1 and many["none"] == 0


def test_the_images_are_those_of_the_run(predicted_run: Callable[[dict[str, Any]], None]) -> None:
    assert dict(deciding.run_images().people) == {"A/a1": "A", "A/a2": "A", "B/b1": "B", "B/b2": "B"}


def test_a_search_on_one_half_is_scored_on_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probabilities are 0.4 inside of the truth, and 0.2 around it."""
    monkeypatch.setattr(deciding, "HALVES", 1)
    truth = np.zeros((1, 8, 8), bool)
    truth[:, 2:6, 2:6] = True
    image = [CroppedMaps.from_dense(np.where(truth, 102, 51).astype(np.uint8))], PackedMasks.pack(BoxedMasks.from_dense(truth))
    images = HeldOutImages({f"{person}/a": person for person in "ABCDEFGH"}, ["square"], lambda _: image)
    found = {name: values for name, *values in deciding.gains(images)}
    assert found["thresholds"] == [pytest.approx(1, abs=1e-4)] * 3
    assert found["clean-up"] == [0, 0, 0]
