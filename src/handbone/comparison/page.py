"""The page of two experiments: one offline HTML file with intervals, a sortable table of all images, and the pictures that differ most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from handbone.comparison.figures import Layers, intervals_svg, layers
from handbone.comparison.selection import Choice, classes_that_differ, images_that_differ
from handbone.comparison.side import Side
from handbone.evaluation.bootstrap import Intervals, paired_intervals
from handbone.evaluation.comparison import Comparison
from handbone.report.figures import PREDICTED_RGB, TRUTH_RGB
from handbone.report.page import chart, document, section
from handbone.utils.errors import Problem, UserError

LAYERS = [
    ("truth", "outline of the truth", TRUTH_RGB),
    ("predicted", "outline of the prediction (dashed)", PREDICTED_RGB),
    ("missed", "missed: truth only", TRUTH_RGB),
    ("extra", "too much: prediction only", PREDICTED_RGB),
]
CSS = """
.switches { margin-top: 3rem;
  position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .3rem 1.25rem; padding: .6rem 1.1rem;
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; font-size: .85rem; }
.switches label { cursor: pointer; white-space: nowrap; }
.switches i { display: inline-block; width: .9rem; height: .7rem; margin: 0 .35rem; border-radius: 2px; vertical-align: baseline; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
.pair span { display: block; padding: .35rem .9rem; color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.pair span b { float: none; margin: 0 0 0 .5rem; color: var(--ink); font-variant-numeric: tabular-nums; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); gap: 1rem; margin-top: 1rem; }
figure svg { display: block; width: 100%; height: auto; max-height: 80vh; background: #000; }
.tile:nth-child(4) dd { font-size: 1.1rem; padding-top: .45rem; }
svg path.predicted { stroke-dasharray: 4 3; } /* the truth's line shows through where both agree */
svg path { fill: none; stroke-width: 1.25; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
.chart img { max-width: 44rem; margin: 0 auto; }
.wide-table { max-height: 32rem; overflow: auto; }
.wide-table thead th { position: sticky; top: 0; background: var(--card); }
th button { padding: .2rem 0; border: 0; background: none; color: inherit; font: inherit; cursor: pointer; text-align: inherit; }
th button::after { content: " \\2195"; opacity: .5; }
th[aria-sort=ascending] button::after { content: " \\2191"; opacity: 1; }
th[aria-sort=descending] button::after { content: " \\2193"; opacity: 1; }
td.better { color: #1b7f3b; } td.worse { color: #c8500f; }
@media (prefers-color-scheme: dark) { td.better { color: #5fcf83; } td.worse { color: #f0925c; } }
@media (max-width: 40rem) { .pair { grid-template-columns: 1fr; } .switches { gap: .2rem .9rem; } .small-screens { display: none; }
  .wide-table td:first-child { overflow-wrap: anywhere; min-width: 6rem; } }
"""
SCRIPT = """
for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => {
  const head = button.parentElement, body = head.closest("table").tBodies[0], column = head.cellIndex;
  const rising = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const numbers = column >= 2 && column <= 4;
  const order = (a, b) => numbers ? value(a) - value(b) : value(a).localeCompare(value(b), "en", { numeric: true });
  body.append(...[...body.rows].sort((a, b) => rising ? order(a, b) : order(b, a)));
});
"""


def comparison_page(comparison: Comparison, first: Side, second: Side) -> str:
    """The whole page as HTML text. Raises `UserError` for files that cannot be read, and masks that are not those that were counted."""
    names = first.held.name, second.held.name
    differences, people = comparison.differences, comparison.people
    overall = paired_intervals(differences.mean(1, keepdims=True), people)
    sections = [
        _tiles(comparison, overall) + _nested_note(first, second),
        section("Difference", _chart_of_classes(comparison, overall, paired_intervals(differences, people))),
        _switches(),
        section("Images that differ most", _images(comparison, first, second)),
        section("Classes that differ most", _classes(comparison, first, second)),
        section("All held-out images", _table(comparison, names)),
    ]
    css = CSS + "".join(_layer_css(name, colour) for name, _, colour in LAYERS)
    return document("Comparison of two experiments", f"{names[0]} → {names[1]}", "\n".join(sections), css, SCRIPT)


def _layer_css(name: str, colour: tuple[int, int, int]) -> str:
    hidden = f"body:has(#show-{name}:not(:checked)) .layer.{name} {{ display: none; }}\n"
    return hidden + (f"path.{name} {{ stroke: rgb{colour}; }}\n" if name in ("truth", "predicted") else "")


def _tiles(comparison: Comparison, overall: Intervals) -> str:
    mean, low, high = (float(part[0]) for part in (overall.mean, overall.low, overall.high))
    verdict = "beyond the noise" if overall.beyond_noise[0] else "within the noise"
    tiles = [
        ("First", f"{comparison.first.mean():.4f}"),
        ("Second", f"{comparison.second.mean():.4f}"),
        (f"Difference, {verdict}", f"{mean:+.4f}"),
        ("95 % interval", f"{low:+.4f} to {high:+.4f}"),
        ("Images", f"{len(comparison.keys):,}"),
        ("People", f"{len(set(comparison.people)):,}"),
    ]
    cells = "\n".join(f'<div class="tile"><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>' for name, value in tiles)
    notes = "".join(f'\n<p class="note">{escape(text)}</p>' for text in comparison.left_out)
    return f'<dl class="tiles">\n{cells}\n</dl>{notes}'


def _nested_note(*sides: Side) -> str:
    """Scores and pictures are of different decisions where the decision was searched on the images."""
    text = (
        "{}: the decision was searched on these people. Its Dice is nested, each image under a decision made without its person; "
        "the pictures show the final decision."
    )
    return "".join(f'\n<p class="note">{escape(text.format(side.held.name))}</p>' for side in sides if side.held.is_nested)


def _chart_of_classes(comparison: Comparison, overall: Intervals, by_class: Intervals) -> str:
    order = by_class.mean.argsort(kind="stable")
    both = ((overall.mean, by_class.mean), (overall.low, by_class.low), (overall.high, by_class.high))
    shown = Intervals(*(np.concatenate([one, many[order]]) for one, many in both))
    names = ["all classes", *(comparison.classes[at] for at in order)]
    note = (
        "Dot: mean difference; line: 95 % interval over people, for the classes corrected for looking at all of them. "
        "Green and orange: beyond the noise. A line across the whole chart: too few people differ to tell."
    )
    return chart(intervals_svg(names, shown), "Difference of the mean Dice, overall and by class") + f'\n<p class="note">{note}</p>'


def _switches() -> str:
    items = [
        f'<label><input type="checkbox" id="show-{name}" checked><i style="background:rgb{colour}"></i>{text}</label>'
        for name, text, colour in LAYERS
    ]
    return f'<div class="switches">{"".join(items)}</div>'


def _images(comparison: Comparison, first: Side, second: Side) -> str:
    return _pairs_of(comparison, images_that_differ(comparison), first, second, "image") or '<p class="note">No image differs.</p>'


def _classes(comparison: Comparison, first: Side, second: Side) -> str:
    parts = [
        f"<h3>{escape(comparison.classes[choices[0].label or 0])}</h3>" + _pairs_of(comparison, choices, first, second, f"class-{number}")
        for number, choices in enumerate(classes_that_differ(comparison))
        if choices
    ]
    return "\n".join(parts) or '<p class="note">No class differs.</p>'


def _pairs_of(comparison: Comparison, choices: Sequence[Choice], first: Side, second: Side, name: str) -> str:
    figures = [_figure(comparison, choice, first, second, f"{name}-{number}") for number, choice in enumerate(choices)]
    joined = "\n".join(figures)
    return f'<div class="pairs">\n{joined}\n</div>' if figures else ""


def _figure(comparison: Comparison, choice: Choice, first: Side, second: Side, name: str) -> str:
    key = comparison.keys[choice.image]
    labels = comparison.classes if choice.label is None else [comparison.classes[choice.label]]
    one, two = first.show(key, labels), second.show(key, labels)
    if one.truth.shape != two.truth.shape:
        found = " and ".join(f"{height} x {width} pixels" for height, width in (one.truth.shape, two.truth.shape))
        raise UserError(Problem("compare.shape", key, "an image of one size", found, "compare experiments on the same data set"))
    pictures = layers(name, one, two)
    at = (choice.image, slice(None) if choice.label is None else choice.label)
    dice = [float(values[at].mean()) for values in (comparison.first, comparison.second)]
    return _pair(f"{key}{'' if choice.label is None else f': {labels[0]}'}", pictures, (first.held.name, second.held.name), dice)


def _pair(caption: str, pictures: Layers, names: tuple[str, str], dice: Sequence[float]) -> str:
    panels = "".join(
        f"<div><span>{escape(name)}<b>{value:.4f}</b></span>{picture}</div>"
        for name, value, picture in zip(names, dice, (pictures.first, pictures.second), strict=True)
    )
    size = "crop of {} x {} pixels".format(*pictures.shape) + ("" if pictures.scale == 1 else f", shown at {pictures.scale:.0%}")
    return (
        f'<figure><div class="pair">{panels}</div>'
        f"<figcaption><b>{dice[1] - dice[0]:+.4f}</b>{escape(caption)}<p>{size}</p></figcaption></figure>"
    )


def _table(comparison: Comparison, names: tuple[str, str]) -> str:
    heads = ["Image", "Person", names[0], names[1], "Difference", "Class that differs most"]
    cells = "".join(f'<th scope="col"{_small(at)}><button type="button">{escape(name)}</button></th>' for at, name in enumerate(heads))
    rows = "\n".join(_rows(comparison))
    return f'<div class="card wide-table"><table>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>'


def _rows(comparison: Comparison) -> Iterator[str]:
    """A row per image, largest loss first."""
    differences = comparison.differences
    means = differences.mean(1)
    for at in means.argsort(kind="stable"):
        most = int(abs(differences[at]).argmax())
        label = f"{comparison.classes[most]} {differences[at, most]:+.4f}" if differences[at, most] else "–"
        style = "better" if means[at] > 0 else "worse" if means[at] < 0 else "same"
        scores = [float(values[at].mean()) for values in (comparison.first, comparison.second)]
        numbers = "".join(f'<td data-value="{score:.6f}">{score:.4f}</td>' for score in scores)
        yield (
            f"<tr><td>{escape(comparison.keys[at])}</td><td{_small(1)}>{escape(comparison.people[at])}</td>{numbers}"
            f'<td class="{style}" data-value="{means[at]:.6f}">{means[at]:+.4f}</td><td{_small(5)}>{escape(label)}</td></tr>'
        )


def _small(column: int) -> str:
    """Small screens have no room for these columns."""
    return ' class="small-screens"' if column in (1, 5) else ""
