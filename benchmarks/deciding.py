"""What a search promises, and what it keeps.

`python -m benchmarks.deciding noise`: how often a search is accepted where all candidates are equally good.
`python -m benchmarks.deciding power`: the same by the number of people, and how often it is accepted where there is a gain.
`python -m benchmarks.deciding halves`: the gains of a search on half of the people, and what they are on the other half; of the finished
run in the working directory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from stages.validate import held_out, held_out_images

from handbone.config.params import load_params
from handbone.deciding.procedure import HeldOutImages, Outcome, combined_decision, search_clean_up, search_thresholds
from handbone.deciding.search import groups_of, search
from handbone.evaluation.decision import Decision, decided_counts
from handbone.evaluation.dice import dice

Floats = NDArray[np.float64]

REPETITIONS, HALVES = 150, 8
SIZES = [(10, 29, 20), (20, 5, 20), (40, 29, 20), (80, 29, 51)]  # people, classes, candidates
KINDS = ["of images", "of people", "smooth", "rare"]  # of noise
POWER_PEOPLE, POWER_CLASSES, POWER_CANDIDATES, POWER_REPETITIONS = (3, 6, 8, 10, 15, 20), 29, 20, 200
GAINS = (0.5, 1.0, 2.0)  # in standard deviations between people
SPREAD = 0.01  # that standard deviation, in Dice
RULES = ["largest", "min_area", "fill_holes"]
START = Decision(0.5)


def noise(kind: str, rng: np.random.Generator, people: int, classes: int, candidates: int) -> Floats:
    """Dice (2 * people, classes, candidates) that differ from the default's by nothing but noise; two images per person."""
    shape, person = (2 * people, classes, candidates), np.repeat(np.arange(people), 2)
    if kind == "of people":
        effect = rng.normal(0, 0.01, (people, classes, candidates))[person] + rng.normal(0, 0.005, shape)
    elif kind == "smooth":  # as thresholds: each person has a slope
        effect = rng.normal(0, 0.01, (people, classes, 1))[person] * np.linspace(0, 1, candidates)
    elif kind == "rare":  # as a clean-up: most images stay as they are
        effect = rng.normal(0, 0.05, shape) * (rng.random(shape) < 0.02)
    else:
        effect = rng.normal(0, 0.01, shape)
    default = 0.95 - 0.02 * rng.exponential(1, (2 * people, classes, 1))
    return np.asarray(default + effect - effect[..., :1], np.float64)


def claims() -> Iterator[tuple[str, int, int, int, int]]:
    """Rows of the kind of noise, the size of the experiment, and how many of `REPETITIONS` searches were accepted."""
    for kind in KINDS:
        for people, classes, candidates in SIZES:
            scores = (noise(kind, np.random.default_rng(seed), people, classes, candidates) for seed in range(REPETITIONS))
            yield kind, people, classes, candidates, _accepted(scores)


def power() -> Iterator[dict[str, float]]:
    """Rows of the number of people, and the share of searches that were accepted: on all kinds of noise, and with each of `GAINS`."""
    for people in POWER_PEOPLE:
        size = people, POWER_CLASSES, POWER_CANDIDATES
        of_noise = (noise(kind, np.random.default_rng(seed), *size) for kind in KINDS for seed in range(POWER_REPETITIONS))
        row = {"people": people, "none": _accepted(of_noise) / (len(KINDS) * POWER_REPETITIONS)}
        for gain in GAINS:
            gaining = (with_gain(gain, np.random.default_rng(seed), *size) for seed in range(POWER_REPETITIONS))
            row[f"{gain:g}"] = _accepted(gaining) / POWER_REPETITIONS
        yield row


def with_gain(gain: float, rng: np.random.Generator, people: int, classes: int, candidates: int) -> Floats:
    """Dice as of `noise`, of which candidate 1 is better in every second class, for each person by another amount.

    gain: the mean over people of what they gain, in standard deviations between people.
    """
    scores = noise("of images", rng, people, classes, candidates)
    scores[:, ::2, 1] += SPREAD * np.repeat(rng.normal(gain, 1, (people, 1)), 2, 0)
    return scores


def _accepted(experiments: Iterable[Floats]) -> int:
    """How many of these experiments, of two images per person, a search accepts."""
    count = 0
    for scores in experiments:
        names = [f"ID{image // 2:03}" for image in range(len(scores))]
        count += search([scores] * (int(groups_of(names).max()) + 2), names).accepted
    return count


def run_images() -> HeldOutImages:
    """The held-out images of the run in the working directory."""
    return held_out_images(*held_out(load_params()))


def gains(images: HeldOutImages) -> Iterator[tuple[str, float, float, float]]:
    """Rows of the search, its gain in sample and nested on a random half of the people, and its gain on the other half."""
    rng, people = np.random.default_rng(0), sorted(set(images.people.values()))
    for _ in range(HALVES):
        chosen = set(rng.permutation(people)[: len(people) // 2])
        one, other = (
            HeldOutImages({key: name for key, name in images.people.items() if (name in chosen) == inside}, images.classes, images.read)
            for inside in (True, False)
        )
        start = [START] * (int(one.groups().max()) + 2)
        yield "thresholds", *_gains(search_thresholds(start, one), one, other)
        yield "clean-up", *_gains(search_clean_up(start, RULES, one), one, other)


def _gains(outcome: Outcome, one: HeldOutImages, other: HeldOutImages) -> tuple[float, float, float]:
    found, decision = outcome.found, combined_decision(outcome.candidates[0], outcome.found.best, one.classes)
    return float(found.in_sample.mean()), float(found.overall.mean[0]), _score(other, decision) - _score(other, START)


def _score(images: HeldOutImages, decision: Decision) -> float:
    return float(np.mean([dice(decided_counts(*images.read(key), decision)) for key in images.people]))


def main() -> None:
    if sys.argv[1:] == ["noise"]:
        print(pd.DataFrame(claims(), columns=["noise", "people", "classes", "candidates", f"accepted of {REPETITIONS}"]).to_string())
    elif sys.argv[1:] == ["power"]:
        print(pd.DataFrame(power()).to_string(index=False))
    else:
        table = pd.DataFrame(gains(run_images()), columns=["search", "in sample", "nested", "on the other half"])
        print(table.groupby("search").mean().round(4).to_string())


if __name__ == "__main__":
    main()
