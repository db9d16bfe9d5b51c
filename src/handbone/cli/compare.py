"""`handbone compare REV [REV]`: is the difference of two experiments more than the noise of which people were held out?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from handbone.cli.document import print_document
from handbone.comparison.side import Member, Side
from handbone.config import paths
from handbone.config.params import CURRENT
from handbone.evaluation.bootstrap import Intervals
from handbone.evaluation.comparison import Comparison, HeldOut, compare, read_held_out
from handbone.evaluation.decision import Decision
from handbone.evaluation.members import pinned_file, read_pin
from handbone.provenance.revisions import StoredFolder, cached_outs, stored_folders
from handbone.utils.errors import Problem, all_of, require_file, warn
from handbone.utils.io import write_text

IMAGES = 5  # that are named


def print_comparison(first: str, second: str | None, html: Path | None = None, as_json: bool = False) -> None:
    """Print the second experiment's mean Dice minus the first's, its interval, and the classes and images that differ.

    first, second: revisions; None for the working tree. html: also write the page with pictures to this file.
    Raises `UserError` for what `cached_outs`, `read_held_out` and `compare` do not accept.
    """
    held = all_of("cannot compare", lambda: held_out(first), lambda: held_out(second))
    comparison = compare(*held)
    warn_of_truth(held[0].name, held[1].name, comparison)
    if as_json:
        print_document(_document(comparison, held[0].name, held[1].name))
    else:
        print("\n".join(_lines(comparison, held[0].name, held[1].name)))
    if html is not None:
        _write_page(html, comparison, held, (first, second))
        print(f"\nopen {html}", file=sys.stderr if as_json else sys.stdout)


def warn_of_truth(first: str, second: str, comparison: Comparison) -> None:
    """A warning for each image whose true masks differ. first, second: names of the experiments."""
    expected, found = f"the same true masks in {first} and {second}", "others"
    fix = "the difference is partly that of the truth; run dvc repro on the same data for both"
    warn(*(Problem("compare.truth", key, expected, found, fix) for key in comparison.other_truth))


def _write_page(html: Path, comparison: Comparison, held: list[HeldOut], revisions: tuple[str | None, str | None]) -> None:
    from handbone.comparison.page import comparison_page  # imports matplotlib, which the text does not need

    sides = [partial(_side, one, rev) for one, rev in zip(held, revisions, strict=True)]
    write_text(html, comparison_page(comparison, *all_of("cannot show", *sides)))


def _side(held: HeldOut, rev: str | None) -> Side:
    """Where the masks of an experiment come from: from the working tree, or from DVC's cache."""
    if rev is None:
        decision = Decision.load(paths.DECISION, held.classes)
        members = all_of("cannot show the working tree", *(partial(_member_here, name) for name in decision.names))
        return Side(held, decision, members, lambda key: require_file(paths.cached_sample("train", key)))
    (cached,) = cached_outs(rev, [paths.DECISION])
    decision = Decision.load(cached, held.classes)
    outs = [paths.CACHE, *(paths.predictions("oof", name) for name in decision.names)]
    _, (cache, *folders) = stored_folders(rev, outs)
    members = [_member_of(name, folder) for name, folder in zip(decision.names, folders, strict=True)]
    return Side(held, decision, members, lambda key: cache.file(paths.cached_sample("train", key)))


def _member_here(name: str) -> Member:
    record, pin = paths.prediction_record("oof", name), paths.pin(name)
    if name == CURRENT:
        return Member(record, lambda key: require_file(paths.prediction("oof", key)))
    read_pin(pin)  # without it, no command would bring its files
    return Member(pinned_file(pin, record), lambda key: pinned_file(pin, paths.prediction("oof", key, name)))


def _member_of(name: str, folder: StoredFolder) -> Member:
    return Member(folder.file(paths.prediction_record("oof", name)), lambda key: folder.file(paths.prediction("oof", key, name)))


def held_out(rev: str | None) -> HeldOut:
    """The counts of a revision from DVC's cache, or of the working tree for None. Raises `UserError` if they cannot be read."""
    outs = [paths.VALIDATION_COUNTS, paths.FOLDS]
    if rev is None:
        return read_held_out("the working tree", *outs)
    return read_held_out(rev, *cached_outs(rev, outs))


def _document(comparison: Comparison, first: str, second: str) -> dict[str, Any]:
    """All classes and images; Dice 0..1. The intervals of the classes hold together."""
    overall, by_class = comparison.overall(), comparison.by_class()
    sides = {"first": comparison.first, "second": comparison.second}
    means = [{side: float(dice[:, at].mean()) for side, dice in sides.items()} for at in range(len(comparison.classes))]
    classes = {name: means[at] | _interval_document(by_class, at) for at, name in enumerate(comparison.classes)}
    images = {key: {side: float(dice[at].mean()) for side, dice in sides.items()} for at, key in enumerate(comparison.keys)}
    dice = {side: float(dice.mean()) for side, dice in sides.items()} | _interval_document(overall, 0)
    left = {"left_out": comparison.left_out, "n_people": len(set(comparison.people))}
    return {"first": first, "second": second, "dice": dice, **left, "classes": classes, "images": images}


def _interval_document(intervals: Intervals, at: int) -> dict[str, Any]:
    ends = {"difference": intervals.mean, "low": intervals.low, "high": intervals.high}
    return {name: float(values[at]) for name, values in ends.items()} | {"beyond_noise": bool(intervals.beyond_noise[at])}


def _lines(comparison: Comparison, first: str, second: str) -> Iterator[str]:
    overall = comparison.overall()
    yield f"{_interval(overall, 0)}: {'beyond' if overall.beyond_noise[0] else 'within'} the noise"
    yield f"mean Dice {comparison.first.mean():.4f} ({first}) -> {comparison.second.mean():.4f} ({second})"
    images, classes = len(comparison.keys), len(comparison.classes)
    yield f"over {images} held-out images of {len(set(comparison.people))} people and {classes} classes that both have"
    yield from comparison.left_out
    yield from _class_lines(comparison, comparison.by_class())
    yield from _image_lines(comparison)


def _interval(intervals: Intervals, at: int) -> str:
    return f"{intervals.mean[at]:+.4f} [{intervals.low[at]:+.4f}, {intervals.high[at]:+.4f}]"


def _class_lines(comparison: Comparison, intervals: Intervals) -> Iterator[str]:
    beyond = np.flatnonzero(intervals.beyond_noise)
    yield f"\n{len(beyond)} of {len(comparison.classes)} classes differ beyond the noise" + (":" if len(beyond) else "")
    for at in beyond[np.argsort(intervals.mean[beyond], kind="stable")]:
        means = f"{comparison.first[:, at].mean():.4f} -> {comparison.second[:, at].mean():.4f}"
        yield f"{comparison.classes[at]:>16}  {means}  {_interval(intervals, at)}"


def _image_lines(comparison: Comparison) -> Iterator[str]:
    """The images with the largest difference of their mean over the classes, if there is one."""
    first, second = comparison.first.mean(1), comparison.second.mean(1)
    most = np.argsort(-np.abs(second - first), kind="stable")[: min(IMAGES, np.count_nonzero(second != first))]
    yield f"\n{len(most)} images that differ most:" if len(most) else "\nno image differs"
    for at in most:
        yield f"{comparison.keys[at]:>32}  {first[at]:.4f} -> {second[at]:.4f}  {second[at] - first[at]:+.4f}"
