"""Dice by attribute, and the held-out Dice under the test images' mix of values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from handbone.evaluation.attributes import HELD_OUT, TEST, dice_by_attribute, dice_under_test_mix
from handbone.evaluation.bootstrap import paired_intervals
from handbone.evaluation.dice import mean_dice

CLASSES = ["Radius", "Ulna"]
NONE = pd.DataFrame(columns=["key", "class", "tp", "fp", "fn"])


def counts(dice: dict[str, float]) -> pd.DataFrame:
    """Counts of the classes of each image that give this mean Dice: 0.1 more for one class, 0.1 less for the other."""
    rows = [
        (key, name, round(1000 * value), 2000 - 2 * round(1000 * value), 0, 0)
        for key, mean in dice.items()
        for name, value in zip(CLASSES, (mean - 0.1, mean + 0.1), strict=True)
    ]
    return pd.DataFrame(rows, columns=["key", "class", "tp", "fp", "fn", "fold"])


def wrists(values: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame({"wrist": values})


HELD = counts({"A/1": 0.8, "A/2": 0.8, "B/1": 0.6, "B/2": 0.7, "C/1": 0.5})
HELD_WRISTS = wrists({"A/1": "straight", "A/2": "straight", "B/1": "bent", "B/2": "bent", "C/1": "", "Z/1": "bent"})
TEST_WRISTS = wrists({"D/1": "bent", "D/2": "bent", "E/1": "straight", "E/2": "bent", "F/1": ""})


def test_dice_by_value_and_class() -> None:
    table = dice_by_attribute(HELD, counts({"D/1": 0.4, "E/1": 0.9}), HELD_WRISTS, TEST_WRISTS)
    assert table.drop(columns="dice").values.tolist() == [
        [subset, "wrist", value, name, images]
        for subset, images in ((HELD_OUT, 2), (TEST, 1))
        for value in ("bent", "straight")
        for name in CLASSES
    ]
    assert table["dice"].tolist() == pytest.approx([0.55, 0.75, 0.7, 0.9, 0.3, 0.5, 0.8, 1.0], abs=1e-3)


def test_only_the_known_truth_counts_and_a_value_of_one_subset_is_enough() -> None:
    table = dice_by_attribute(HELD[HELD["key"] < "B"], NONE, HELD_WRISTS, TEST_WRISTS)
    assert table["value"].unique().tolist() == ["straight"] and table["subset"].unique().tolist() == [HELD_OUT]


def test_without_attributes_there_is_no_row() -> None:
    empty = pd.DataFrame(index=HELD["key"].unique())
    assert len(dice_by_attribute(HELD, NONE, empty, empty)) == 0
    assert dice_under_test_mix(HELD, empty, empty) == {}


def test_a_column_may_have_any_name() -> None:
    names = {"wrist": "key"}
    table = dice_by_attribute(HELD, NONE, HELD_WRISTS.rename(columns=names), TEST_WRISTS.rename(columns=names))
    assert table["attribute"].unique().tolist() == ["key"]


def test_the_mix_weights_values_by_their_share_of_the_test_images() -> None:
    mix = dice_under_test_mix(HELD, HELD_WRISTS, TEST_WRISTS)["wrist"]
    assert mix.mean == pytest.approx(0.75 * 0.65 + 0.25 * 0.8, abs=1e-3)
    assert (mix.low, mix.high) == (0, 1), "few people of a value do not tell how people vary"


def test_a_value_without_a_held_out_image_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert dice_under_test_mix(HELD[HELD["key"] < "B"], HELD_WRISTS, TEST_WRISTS) == {}
    warning = capsys.readouterr().err
    assert "wrist=bent, as 75% of the test images" in warning and "straight" not in warning


def people_of(rng: np.random.Generator, bent: int, straight: int) -> tuple[dict[str, float], dict[str, str]]:
    """The Dice of two images per person and each one's wrist; bent wrists are worse, and vary more."""
    dice, values = {}, {}
    for place in range(bent + straight):
        is_bent = place < bent
        person = rng.normal(0.85, 0.04) if is_bent else rng.normal(0.87, 0.02)
        for image in range(2):
            dice[f"{place:03d}/{image}"] = float(np.clip(person + rng.normal(0, 0.01), 0.11, 0.89))
            values[f"{place:03d}/{image}"] = "bent" if is_bent else "straight"
    return dice, values


def test_the_mix_of_the_held_out_images_themselves_changes_nothing() -> None:
    dice, values = people_of(np.random.default_rng(0), 20, 20)
    mix = dice_under_test_mix(counts(dice), wrists(values), wrists(values))["wrist"]
    assert mix.mean == pytest.approx(mean_dice(counts(dice)))
    plain = paired_intervals(np.array([*dice.values()])[:, None], [key[:3] for key in dice])
    assert mix.high - mix.low == pytest.approx(float(plain.high[0] - plain.low[0]), rel=0.1)


def test_the_interval_holds_the_mean_of_all_people() -> None:
    """Experiments with other people each: the interval should hold the truth in about 95 % of them, although six people are few."""
    rng = np.random.default_rng(1)
    test = wrists({f"T{place}/1": "bent" if place < 58 else "straight" for place in range(100)})
    many, values = people_of(rng, 4000, 4000)
    means = pd.DataFrame({"dice": many, "wrist": values}).groupby("wrist")["dice"].mean()
    truth = 0.58 * means["bent"] + 0.42 * means["straight"]
    held = 0
    for _ in range(30):
        dice, values = people_of(rng, 6, 34)
        mix = dice_under_test_mix(counts(dice), wrists(values), test)["wrist"]
        held += mix.low <= truth <= mix.high
    assert held >= 26
