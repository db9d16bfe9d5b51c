"""The page of two experiments: one offline HTML file with intervals, a sortable table of all images, and the pictures that differ most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from html import escape

import numpy as np

from handbone.comparison.figures import intervals_svg, layers
from handbone.comparison.selection import Choice, classes_that_differ, images_that_differ
from handbone.comparison.side import Side
from handbone.evaluation.bootstrap import Intervals
from handbone.evaluation.comparison import Comparison
from handbone.report.charts import chart
from handbone.report.html import ABSENT, Cell, Number, Section, document, note, table, tiles
from handbone.report.viewer import switches, viewer
from handbone.utils.errors import Problem, UserError


def comparison_page(comparison: Comparison, first: Side, second: Side) -> str:
    """The whole page as HTML text. Raises `UserError` for files that cannot be read, and masks that are not those that were counted."""
    names = first.held.name, second.held.name
    overall = comparison.overall()
    sections = [
        Section("Difference", _chart_of_classes(comparison, overall, comparison.by_class())),
        Section("Pictures", switches("names") + _images(comparison, first, second) + _classes(comparison, first, second)),
        Section("Images", _table(comparison, names)),
    ]
    top = _tiles(comparison, overall) + "".join(_nested_notes(first, second))
    return document("Comparison of two experiments", f"{names[0]} → {names[1]}", top, sections)


def _tiles(comparison: Comparison, overall: Intervals) -> str:
    mean, low, high = (float(part[0]) for part in (overall.mean, overall.low, overall.high))
    verdict = "beyond the noise" if overall.beyond_noise[0] else "within the noise"
    entries = [
        ("First", f"{comparison.first.mean():.4f}", ""),
        ("Second", f"{comparison.second.mean():.4f}", ""),
        (f"Difference, {verdict}", f"{mean:+.4f}", f"95 % interval {low:+.4f} to {high:+.4f}"),
        ("Images", f"{len(comparison.keys):,}", f"{len(set(comparison.people)):,} people"),
    ]
    return tiles(entries) + "".join(map(note, comparison.notes))


def _nested_notes(*sides: Side) -> Iterator[str]:
    """Scores and pictures are of different decisions where the decision was searched on the images."""
    text = (
        "{}: the decision was searched on these people. Its Dice is nested, each image under a decision made without its person; "
        "the pictures show the final decision."
    )
    return (note(text.format(side.held.name)) for side in sides if side.held.is_nested)


def _chart_of_classes(comparison: Comparison, overall: Intervals, by_class: Intervals) -> str:
    order = by_class.mean.argsort(kind="stable")
    both = ((overall.mean, by_class.mean), (overall.low, by_class.low), (overall.high, by_class.high))
    shown = Intervals(*(np.concatenate([one, many[order]]) for one, many in both))
    names = ["all classes", *(comparison.classes[at] for at in order)]
    text = (
        "Dot: mean difference; line: 95 % interval over people, for the classes corrected for looking at all of them. "
        "Green and orange: beyond the noise. A line across the whole chart: too few people differ to tell."
    )
    picture = chart(partial(intervals_svg, names, shown), "Difference of the mean Dice, overall and by class", narrow=True)
    return picture + note(text)


def _images(comparison: Comparison, first: Side, second: Side) -> str:
    pairs = _pairs_of(comparison, images_that_differ(comparison), first, second, "image")
    return f"<h3>Images that differ most</h3>\n{pairs}" if pairs else note("No image differs.")


def _classes(comparison: Comparison, first: Side, second: Side) -> str:
    return "".join(
        f"\n<h3>{escape(comparison.classes[choices[0].label or 0])}</h3>\n"
        + _pairs_of(comparison, choices, first, second, f"class-{number}")
        for number, choices in enumerate(classes_that_differ(comparison))
        if choices
    )


def _pairs_of(comparison: Comparison, choices: Sequence[Choice], first: Side, second: Side, name: str) -> str:
    figures = [_figure(comparison, choice, first, second, f"{name}-{number}") for number, choice in enumerate(choices)]
    joined = "\n".join(figures)
    return f'<div class="cases pairs">\n{joined}\n</div>' if figures else ""


def _figure(comparison: Comparison, choice: Choice, first: Side, second: Side, name: str) -> str:
    key = comparison.keys[choice.image]
    labels = comparison.classes if choice.label is None else [comparison.classes[choice.label]]
    one, two = first.show(key, labels), second.show(key, labels)
    if one.truth.shape != two.truth.shape:
        found = " and ".join(f"{height} x {width} pixels" for height, width in (one.truth.shape, two.truth.shape))
        raise UserError(Problem("compare.shape", key, "an image of one size", found, "compare experiments on the same data set"))
    pictures = layers(f"{name}-image", one, two, labels)
    at = (choice.image, slice(None) if choice.label is None else choice.label)
    dice = [float(values[at].mean()) for values in (comparison.first, comparison.second)]
    panels = "".join(
        f"<div><span>{escape(held.name)}<b>{value:.4f}</b></span>{picture}</div>"
        for held, value, picture in zip((first.held, second.held), dice, (pictures.first, pictures.second), strict=True)
    )
    caption = f"{key}{'' if choice.label is None else f': {labels[0]}'}"
    text = f"<b>{dice[1] - dice[0]:+.4f}</b>{escape(caption)}<p>{pictures.shape[0]} × {pictures.shape[1]} pixels</p>"
    return viewer(name, f'<div class="pair">{panels}</div>', text)


def _table(comparison: Comparison, names: tuple[str, str]) -> str:
    heads = ["Image", "Person", *names, "Difference", "Class that differs most"]
    return table(heads, list(_rows(comparison)), sortable=True)


def _rows(comparison: Comparison) -> Iterator[list[Cell]]:
    """A row per image, largest loss first."""
    differences = comparison.differences
    means = differences.mean(1)
    for at in means.argsort(kind="stable").tolist():
        most = int(abs(differences[at]).argmax())
        label = f"{comparison.classes[most]} {differences[at, most]:+.4f}" if differences[at, most] else ABSENT
        style = "better" if means[at] > 0 else "worse" if means[at] < 0 else ""
        scores = [Number(float(values[at].mean())) for values in (comparison.first, comparison.second)]
        yield [comparison.keys[at], comparison.people[at], *scores, Number(float(means[at]), "+.4f", style), label]
