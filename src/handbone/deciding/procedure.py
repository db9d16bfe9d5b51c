"""From held-out probabilities to the decision: the searches that `decide` in params.yaml asks for, one after the other.

Each search begins with what the one before it decided. Its estimate on a group of people begins with what the one before it decided
without this group, so that nothing in it has seen the group: there is a decision for all people, and one without each group.
The networks are an exception that has to stay: those that predict one group's people were trained on others who also decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handbone.config.params import DecideParams
from handbone.deciding.search import Found, Ints, groups_of, search
from handbone.deciding.statistics import THRESHOLDS, area_shares, clean_up_dice, clean_ups, threshold_dice
from handbone.evaluation.bootstrap import Intervals
from handbone.evaluation.decision import CleanUp, Decision, Gain, SearchRecord
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.utils.errors import Problem, UserError
from handbone.utils.parallel import prefetch_map

Floats = NDArray[np.float64]
DEFAULT = 0.5  # the threshold that a search has to beat


@dataclass(frozen=True)
class HeldOutImages:
    """people: the person of each image by key; classes: names; read: the probabilities and the truth of an image."""

    people: Mapping[str, str]
    classes: Sequence[str]
    read: Callable[[str], tuple[CroppedMaps, PackedMasks]]

    def measure(self, statistic: Callable[[CroppedMaps, PackedMasks], Floats], title: str) -> Floats:
        """-> (N, ...) the statistic of each image."""
        results = prefetch_map(lambda key: statistic(*self.read(key)), self.people)
        return np.stack(list(tqdm(results, title, len(self.people), unit="image")))

    def groups(self) -> Ints:
        """-> (N,) group of people of each image."""
        return groups_of(list(self.people.values()))


@dataclass(frozen=True)
class Candidates:
    """The decisions that a search chooses from, class by class, and the Dice under them.

    decisions: G + 1 sequences of K: from all people, and without each group of people. The first of each is the default.
    scores: G + 1 arrays (N, C, K). words: K, what each candidate is; tried: all of them, in words.
    """

    decisions: Sequence[Sequence[Decision]]
    scores: Sequence[Floats]
    words: Sequence[str]
    tried: str


def make_decisions(params: DecideParams, images: HeldOutImages) -> list[Decision]:
    """Run the searches -> the decision from all people, and those that the same procedure makes without each group of people.

    Raises `UserError` if there is something to search and only one person.
    """
    searched = params.threshold == "per_class"
    decisions = [Decision(DEFAULT if params.threshold == "per_class" else params.threshold)] * (int(images.groups().max()) + 2)
    if searched or params.clean_up:
        _check_people(images)
    if searched:
        decisions = decide_by("threshold", threshold_candidates(decisions, images), images)
    if params.clean_up:
        decisions = decide_by("clean_up", clean_up_candidates(decisions, params.clean_up, images), images)
    return decisions


def _check_people(images: HeldOutImages) -> None:
    if len(set(images.people.values())) < 2:
        fix = "set decide.threshold to a number and decide.clean_up to [], or validate more folds"
        raise UserError(Problem("decide.people", "params.yaml: decide", "held-out images of two people or more", "one person", fix))


def threshold_candidates(decisions: Sequence[Decision], images: HeldOutImages) -> Candidates:
    """Each of `THRESHOLDS`, in place of the threshold of G + 1 decisions that are equal otherwise."""
    scores = images.measure(threshold_dice, "thresholds")
    candidates = [[replace(decision, threshold=threshold) for threshold in THRESHOLDS] for decision in decisions]
    tried = f"{len(THRESHOLDS)} thresholds from {min(THRESHOLDS):.3f} to {max(THRESHOLDS):.3f}"
    return Candidates(candidates, [scores] * len(decisions), [f"{one:.4f}" for one in THRESHOLDS], tried)


def clean_up_candidates(decisions: Sequence[Decision], names: Sequence[str], images: HeldOutImages) -> Candidates:
    """Each of `clean_ups`, added to G + 1 decisions. Areas are those of the true masks, where a group does not count without it."""
    rules, groups = clean_ups(names), images.groups()
    shares = images.measure(lambda _, truth: area_shares(truth), "areas")
    medians = [_medians(shares), *(_medians(shares[groups != group]) for group in range(len(decisions) - 1))]
    candidates = [
        [replace(decision, clean_up=_of_classes(rule, images.classes, areas)) for rule in rules]
        for decision, areas in zip(decisions, medians, strict=True)
    ]
    scores = images.measure(lambda maps, truth: clean_up_dice(maps, truth, candidates), "clean-up")  # (N, G + 1, C, K)
    tried = f"{len(rules)} combinations of {', '.join(names)}"
    return Candidates(candidates, list(np.moveaxis(scores, 1, 0)), list(map(_words, rules)), tried)


def decide_by(name: str, candidates: Candidates, images: HeldOutImages) -> list[Decision]:
    """One search, called `name` -> G + 1 decisions: for each class what was found if the search is accepted, else the default."""
    found = search(candidates.scores, list(images.people.values()))
    chosen = [found.chosen, *found.chosen_by_group]
    whole, *others = (mixed(of_one, classes, images.classes) for of_one, classes in zip(candidates.decisions, chosen, strict=True))
    searches = whole.searches | {name: _record(candidates, found, images.classes)}
    return [replace(whole, searches=searches), *others]


def describe(decision: Decision, classes: Sequence[str]) -> list[str]:
    """The searches behind a decision, a line each."""
    return [
        f"decide.{name}: {one.gain.in_sample:+.4f} in sample, {one.gain.nested:+.4f} "
        f"[{one.gain.interval[0]:+.4f}, {one.gain.interval[1]:+.4f}] nested: "
        + (f"taken for {len(one.found)} of {len(classes)} classes" if one.accepted else "not beyond the noise, the default is kept")
        for name, one in decision.searches.items()
    ]


def mixed(candidates: Sequence[Decision], chosen: Ints, classes: Sequence[str]) -> Decision:
    """The decision with each class's part of the candidate that was chosen for it, as short as it can be written."""
    of_class = {name: candidates[at] for name, at in zip(classes, chosen, strict=True)}
    thresholds = {name: one.threshold[name] if isinstance(one.threshold, dict) else one.threshold for name, one in of_class.items()}
    clean_up = {name: one.clean_up[name] for name, one in of_class.items() if one.clean_up}
    alike = len(set(thresholds.values())) == 1
    return replace(
        candidates[0],
        threshold=thresholds[classes[0]] if alike else thresholds,
        clean_up=clean_up if any(rule != CleanUp() for rule in clean_up.values()) else {},
    )


def _medians(shares: Floats) -> Floats:
    """(n, C) areas, NaN where a class is absent -> (C,) medians; 0 for a class that is absent everywhere."""
    return np.array([np.median(seen) if len(seen := column[~np.isnan(column)]) else 0.0 for column in shares.T])


def _of_classes(rule: CleanUp, classes: Sequence[str], areas: Floats) -> dict[str, CleanUp]:
    """The rule for every class, with its share of the class's (C,) median area as a share of the image."""
    return {name: replace(rule, min_area=rule.min_area * area) for name, area in zip(classes, areas.tolist(), strict=True)}


def _words(rule: CleanUp) -> str:
    area = f"min_area {rule.min_area:g} of the median" if rule.min_area else ""
    return ", ".join(filter(None, ["largest" * rule.largest, area, "fill_holes" * rule.fill_holes])) or "none"


def _record(candidates: Candidates, found: Found, classes: Sequence[str]) -> SearchRecord:
    def gain(in_sample: float, intervals: Intervals, at: int) -> Gain:
        return Gain(in_sample, float(intervals.mean[at]), [float(intervals.low[at]), float(intervals.high[at])])

    differing = [(at, name) for at, name in enumerate(classes) if found.best[at]]
    return SearchRecord(
        candidates.tried,
        gain(float(found.in_sample.mean()), found.overall, 0),
        found.accepted,
        {name: candidates.words[found.best[at]] for at, name in differing},
        {name: gain(float(found.in_sample[at]), found.per_class, at) for at, name in differing},
    )
