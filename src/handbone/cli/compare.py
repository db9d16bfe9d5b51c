"""`handbone compare REV [REV]`: is the difference of two experiments more than the noise of which people were held out?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from handbone.comparison.side import Side
from handbone.config import paths
from handbone.evaluation.bootstrap import Intervals, paired_intervals
from handbone.evaluation.comparison import Comparison, HeldOut, compare, read_held_out
from handbone.provenance.folders import CachedFolder
from handbone.provenance.revisions import cached_outs
from handbone.utils.errors import all_of, require_file
from handbone.utils.io import write_text

IMAGES = 5  # that are named


def print_comparison(first: str, second: str | None, html: Path | None = None) -> None:
    """Print the second experiment's mean Dice minus the first's, its interval, and the classes and images that differ.

    first, second: revisions; None for the working tree. html: also write the page with pictures to this file.
    Raises `UserError` for what `cached_outs`, `read_held_out` and `compare` do not accept.
    """
    held = all_of("cannot compare", lambda: _held_out(first), lambda: _held_out(second))
    comparison = compare(*held)
    print("\n".join(_lines(comparison, held[0].name, held[1].name)))
    if html is not None:
        _write_page(html, comparison, held, (first, second))


def _write_page(html: Path, comparison: Comparison, held: list[HeldOut], revisions: tuple[str | None, str | None]) -> None:
    from handbone.comparison.page import comparison_page  # imports matplotlib, which the text does not need

    sides = [partial(_side, one, rev) for one, rev in zip(held, revisions, strict=True)]
    write_text(html, comparison_page(comparison, *all_of("cannot show", *sides)))
    print(f"\nopen {html}")


def _side(held: HeldOut, rev: str | None) -> Side:
    """Where the masks of an experiment are: in the working tree, or in DVC's cache."""
    record = paths.prediction_record("oof")
    if rev is None:
        return Side(
            held,
            paths.DECISION,
            record,
            sample=lambda key: require_file(paths.cached_sample("train", key)),
            prediction=lambda key: require_file(paths.prediction("oof", key)),
        )
    (decision,) = cached_outs(rev, [paths.DECISION])
    predictions, cache = CachedFolder(rev, record.parent), CachedFolder(rev, paths.CACHE)
    return Side(
        held,
        decision,
        predictions.file(record),
        sample=lambda key: cache.file(paths.cached_sample("train", key)),
        prediction=lambda key: predictions.file(paths.prediction("oof", key)),
    )


def _held_out(rev: str | None) -> HeldOut:
    outs = [paths.VALIDATION_COUNTS, paths.FOLDS]
    if rev is None:
        return read_held_out("the working tree", *outs)
    return read_held_out(rev, *cached_outs(rev, outs))


def _lines(comparison: Comparison, first: str, second: str) -> Iterator[str]:
    differences, people = comparison.differences, comparison.people
    overall = paired_intervals(differences.mean(1, keepdims=True), people)
    yield f"{_interval(overall, 0)}: {'beyond' if overall.beyond_noise[0] else 'within'} the noise"
    yield f"mean Dice {comparison.first.mean():.4f} ({first}) -> {comparison.second.mean():.4f} ({second})"
    images, classes = len(comparison.keys), len(comparison.classes)
    yield f"over {images} held-out images of {len(set(people))} people and {classes} classes that both have"
    yield from comparison.left_out
    yield from _class_lines(comparison, paired_intervals(differences, people))
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
