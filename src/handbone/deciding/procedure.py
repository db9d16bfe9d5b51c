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
from handbone.deciding.selection import Weighting, select
from handbone.deciding.statistics import THRESHOLDS, area_shares, clean_up_dice, clean_ups, threshold_dice, weighting_dice
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
    """people: the person of each image by key; classes: names; read: the probabilities by each member, and the truth of an image."""

    people: Mapping[str, str]
    classes: Sequence[str]
    read: Callable[[str], tuple[Sequence[CroppedMaps], PackedMasks]]

    def measure(self, statistic: Callable[[Sequence[CroppedMaps], PackedMasks], Floats], title: str) -> Floats:
        """-> (N, ...) the statistic of each image."""
        results = prefetch_map(lambda key: statistic(*self.read(key)), self.people)
        return np.stack(list(tqdm(results, title, len(self.people), unit="image")))

    def persons(self) -> list[str]:
        """-> N, the person of each image."""
        return list(self.people.values())

    def groups(self) -> Ints:
        """-> (N,) group of people of each image."""
        return groups_of(self.persons())


@dataclass(frozen=True)
class Outcome:
    """What a search found, and among what.

    candidates: G + 1 sequences of K decisions that it chose from, class by class: from all people, and without each group of people. The
    first of each is the default. words: K, what each one is; tried: all of them, in words.
    """

    candidates: Sequence[Sequence[Decision]]
    words: Sequence[str]
    tried: str
    found: Found


def make_decisions(params: DecideParams, images: HeldOutImages) -> list[Decision]:
    """Run the searches -> the decision from all people, and those that the same procedure makes without each group of people.

    Raises `UserError` if there is something to search and only one person.
    """
    start = Decision(DEFAULT if params.threshold == "per_class" else params.threshold, members=dict(params.members))
    decisions = [start] * (int(images.groups().max()) + 2)
    if params.weights != "given" or params.threshold == "per_class" or params.clean_up:
        _check_people(images)
    if params.weights != "given":
        decisions = decisions_after("weights", search_weights(decisions, params, images), images)
    if params.threshold == "per_class":
        decisions = decisions_after("threshold", search_thresholds(decisions, images), images)
    if params.clean_up:
        decisions = decisions_after("clean_up", search_clean_up(decisions, params.clean_up, images), images)
    return decisions


def _check_people(images: HeldOutImages) -> None:
    if len(set(images.persons())) < 2:
        fix = "set decide.threshold to a number, decide.weights to given and decide.clean_up to [], or validate more folds"
        raise UserError(Problem("decide.people", "params.yaml: decide", "held-out images of two people or more", "one person", fix))


def search_weights(decisions: Sequence[Decision], params: DecideParams, images: HeldOutImages) -> Outcome:
    """Weights of the members, in place of the given ones of G + 1 equal decisions."""

    def under(weighting: Weighting) -> Decision:
        return replace(decisions[0], members=dict(zip(params.members, weighting, strict=True)))

    def measure(weightings: Sequence[Weighting]) -> Floats:
        title, weighted = f"{len(weightings)} weightings", [under(one) for one in weightings]
        scores = images.measure(lambda maps, truth: weighting_dice(maps, truth, weighted), title)  # (N, C, V)
        return np.moveaxis(scores, -1, 0)

    given = tuple(params.members.values())
    found, weightings = select(measure, given, images.persons(), per_class=params.weights == "per_class")
    candidates = [decisions[0], *(under(one) for one in weightings[1:])]
    words = [", ".join(f"{name} {weight}" for name, weight in one.members.items()) for one in candidates]
    tried = f"greedy selection among {len(given)} members, {len(words)} weightings"
    return Outcome([candidates] * len(decisions), words, tried, found)


def search_thresholds(decisions: Sequence[Decision], images: HeldOutImages) -> Outcome:
    """Each of `THRESHOLDS`, in place of the threshold of G + 1 decisions."""
    of_weights = {repr(decision.members): decision for decision in decisions}  # one histogram for all with the same weights
    scores = images.measure(lambda maps, truth: np.stack([threshold_dice(maps, truth, one) for one in of_weights.values()]), "thresholds")
    numbers = [list(of_weights).index(repr(decision.members)) for decision in decisions]
    found = search([scores[:, number] for number in numbers], images.persons())
    candidates = [[replace(decision, threshold=threshold) for threshold in THRESHOLDS] for decision in decisions]
    tried = f"{len(THRESHOLDS)} thresholds from {min(THRESHOLDS):.3f} to {max(THRESHOLDS):.3f}"
    return Outcome(candidates, [f"{one:.4f}" for one in THRESHOLDS], tried, found)


def search_clean_up(decisions: Sequence[Decision], names: Sequence[str], images: HeldOutImages) -> Outcome:
    """Each of `clean_ups`, added to G + 1 decisions. Areas are those of the true masks, where a group does not count without it."""
    rules, groups = clean_ups(names), images.groups()
    shares = images.measure(lambda _, truth: area_shares(truth), "areas")
    medians = [_medians(shares), *(_medians(shares[groups != group]) for group in range(len(decisions) - 1))]
    candidates = [
        [replace(decision, clean_up=_of_classes(rule, images.classes, areas)) for rule in rules]
        for decision, areas in zip(decisions, medians, strict=True)
    ]
    scores = images.measure(lambda maps, truth: clean_up_dice(maps, truth, candidates), "clean-up")  # (N, G + 1, C, K)
    found = search(list(np.moveaxis(scores, 1, 0)), images.persons())
    return Outcome(candidates, list(map(_words, rules)), f"{len(rules)} combinations of {', '.join(names)}", found)


def decisions_after(name: str, outcome: Outcome, images: HeldOutImages) -> list[Decision]:
    """What a search decides -> G + 1 decisions: for each class what was found if the search is accepted, else the default.

    name: of the parameter, under which the first decision records the search.
    """
    chosen = [outcome.found.chosen, *outcome.found.chosen_by_group]
    whole, *others = (
        combined_decision(of_one, numbers, images.classes) for of_one, numbers in zip(outcome.candidates, chosen, strict=True)
    )
    return [replace(whole, searches=whole.searches | {name: _record(outcome, images.classes)}), *others]


def describe(decision: Decision, classes: Sequence[str]) -> list[str]:
    """The searches behind a decision, a line each."""
    return [
        f"decide.{name}: {one.gain.in_sample:+.4f} in sample, {one.gain.nested:+.4f} "
        f"[{one.gain.interval[0]:+.4f}, {one.gain.interval[1]:+.4f}] nested: {_verdict(one, len(classes))}"
        for name, one in decision.searches.items()
    ]


def _verdict(search: SearchRecord, classes: int) -> str:
    if search.accepted:
        return f"taken for {len(search.found)} of {classes} classes"
    unknown = search.gain.interval[0] <= -1 and search.gain.interval[1] >= 1
    return f"{'too few people differ to tell' if unknown else 'not beyond the noise'}, the default is kept"


def combined_decision(candidates: Sequence[Decision], chosen: Ints, classes: Sequence[str]) -> Decision:
    """The decision with each class's part of the candidate that was chosen for it, as short as it can be written."""
    of_class = {name: candidates[at] for name, at in zip(classes, chosen, strict=True)}
    thresholds = {name: one.threshold[name] if isinstance(one.threshold, dict) else one.threshold for name, one in of_class.items()}
    clean_up = {name: one.clean_up[name] for name, one in of_class.items() if one.clean_up}
    alike = len(set(thresholds.values())) == 1
    return replace(
        candidates[0],
        threshold=thresholds[classes[0]] if alike else thresholds,
        clean_up=clean_up if any(rule != CleanUp() for rule in clean_up.values()) else {},
        members={name: _per_class(name, of_class) for name in candidates[0].members},
    )


def _per_class(member: str, of_class: Mapping[str, Decision]) -> int | dict[str, int]:
    """The weight of a member; per class, if the decisions of the classes differ in it."""
    given = {name: one.members[member] for name, one in of_class.items()}
    weights = {name: weight[name] if isinstance(weight, dict) else weight for name, weight in given.items()}
    return weights if len(set(weights.values())) > 1 else next(iter(weights.values()))


def _medians(shares: Floats) -> Floats:
    """(n, C) areas, NaN where a class is absent -> (C,) medians; 0 for a class that is absent everywhere."""
    return np.array([np.median(seen) if len(seen := column[~np.isnan(column)]) else 0.0 for column in shares.T])


def _of_classes(rule: CleanUp, classes: Sequence[str], areas: Floats) -> dict[str, CleanUp]:
    """The rule for every class, with its share of the class's (C,) median area as a share of the image."""
    return {name: replace(rule, min_area=rule.min_area * area) for name, area in zip(classes, areas.tolist(), strict=True)}


def _words(rule: CleanUp) -> str:
    area = f"min_area {rule.min_area:g} of the median" if rule.min_area else ""
    return ", ".join(filter(None, ["largest" * rule.largest, area, "fill_holes" * rule.fill_holes])) or "none"


def _record(outcome: Outcome, classes: Sequence[str]) -> SearchRecord:
    def gain(in_sample: float, intervals: Intervals, at: int) -> Gain:
        return Gain(in_sample, float(intervals.mean[at]), [float(intervals.low[at]), float(intervals.high[at])])

    found = outcome.found
    differing = [(at, name) for at, name in enumerate(classes) if found.best[at]]
    return SearchRecord(
        outcome.tried,
        gain(float(found.in_sample.mean()), found.overall, 0),
        found.accepted,
        {name: outcome.words[found.best[at]] for at, name in differing},
        {name: gain(float(found.in_sample[at]), found.per_class, at) for at, name in differing},
    )
