"""The report as one HTML page that works offline: pictures are embedded, and its content security policy forbids to load anything."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from handbone.evaluation.decision import Decision, Gain
from handbone.report.attributes import AttributeRow
from handbone.report.figures import PREDICTED_RGB, TRUTH_RGB, Colour

Json = Mapping[str, Any]

ABSENT = "–"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
CSS = """
:root { color-scheme: light dark; --page: #f6f7f8; --card: #fff; --ink: #1d2126; --soft: #626a73; --line: #e1e4e8; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0f0f10; --card: #191919; --ink: #e6e6e6; --soft: #9a9fa6; --line: #303133; }
  .chart img { filter: invert(.9) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 72rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2; font-weight: 650; letter-spacing: -.01em; overflow-wrap: anywhere; }
.subtitle { margin: .3rem 0 1.5rem; color: var(--soft); overflow-wrap: anywhere; }
h2 { margin: 3rem 0 1rem; font-size: 1.15rem; font-weight: 650; }
h3 { margin: 1.75rem 0 .75rem; font-size: 1rem; font-weight: 600; }
.card, .tile, .chart, figure, details { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1rem; margin: 0; }
.tile { padding: .9rem 1.1rem; }
.tile dt { color: var(--soft); font-size: .85rem; }
.tile dd { margin: 0; font-size: 1.75rem; line-height: 1.25; font-weight: 600; }
.tile dd, td, figcaption b { font-variant-numeric: tabular-nums; }
.columns { display: grid; gap: 1rem; align-items: start; }
@media (min-width: 56rem) { .narrow-wide { grid-template-columns: 14rem 1fr; } .wide-narrow { grid-template-columns: 1.15fr 1fr; } }
.columns > *, figure { min-width: 0; }
.card { padding: .4rem 1.1rem .7rem; overflow-x: auto; }
.small { max-width: 28rem; }
.chart { padding: .6rem; overflow-x: auto; }
.chart img { display: block; width: 100%; }
.chart img.wide { min-width: 38rem; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; }
th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
th, td { padding: .27rem 0 .27rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { padding-left: 0; text-align: left; overflow-wrap: break-word; }
tbody tr:last-child td { border-bottom: 0; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }
.previews { display: grid; gap: 1rem; }
figure { margin: 0; overflow: hidden; }
figure img { display: block; width: 100%; }
figcaption { padding: .6rem .9rem .75rem; font-size: .85rem; overflow-wrap: anywhere; }
figcaption p { margin: .15rem 0 0; color: var(--soft); }
figcaption b { float: right; margin-left: .75rem; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.25rem; margin: 0; padding: 0; list-style: none; }
.legend li { color: var(--soft); font-size: .85rem; }
.legend i { display: inline-block; width: 1.5rem; margin-right: .45rem; vertical-align: middle; border-radius: 2px; background: #555; }
.line i { height: .7rem; border: solid #555; border-width: .28rem 0; }
.area i { height: .7rem; }
.note { margin: .6rem 0 0; color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
details { padding: .7rem 1.1rem; }
summary { cursor: pointer; }
pre { margin: .7rem 0 0; overflow-x: auto; font: .8rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
"""


@dataclass(frozen=True)
class Case:
    """One image of the gallery: its key, its mean Dice (0..1), the picture as a `data:` address, and a caption."""

    key: str
    dice: float
    picture: str
    caption: str


@dataclass(frozen=True)
class Preview:
    """One training image beside augmented versions of it: its key, and the picture as a `data:` address."""

    key: str
    picture: str


def render_page(
    title: str,
    subtitle: str,
    metrics: Json,
    scores: pd.DataFrame,
    decision: Decision,
    classes: Sequence[str],
    curves: str,
    bars: str,
    attributes: Sequence[AttributeRow],
    best: Sequence[Case],
    worst: Sequence[Case],
    previews: Sequence[Preview],
    lineage: Json,
    data_report: Json,
    warnings: Sequence[str],
) -> str:
    """The whole page as HTML text.

    title, subtitle: plain text; metrics: reports/metrics.json; scores: the table of `dice_by_class`; classes: names in the order of
    params.yaml; curves, bars: SVG text; attributes: Dice by attribute; lineage: any JSON document; data_report: reports/data.json;
    warnings: of the stages that checked the data. Dice is 0..1 everywhere, areas are in pixels at full resolution. If metrics have no
    test score, the page shows none.
    """
    curves_chart = chart(curves, "Training loss and Dice by epoch, one line per fold", "wide")
    bars_chart = chart(bars, "Dice by class, the worst class on top")
    sections = [
        _tiles(metrics, decision),
        section("Folds", _columns("narrow-wide", _fold_table(metrics), curves_chart)),
        section("Classes", _columns("wide-narrow", bars_chart, _class_table(scores, classes, data_report))),
        *([section("Attributes", _attribute_table(attributes) + _test_mix(metrics))] if attributes else []),
        *([section("Decision", _searches(decision))] if decision.searches else []),
        section("Cases", _legend() + _cases("Worst", worst) + _cases("Best", best)),
        section("Training images and targets", _previews(previews)),
        section("Data", _data_summary(data_report) + _warnings(warnings)),
        section("Lineage", _lineage(lineage)),
    ]
    return document(title, subtitle, "\n".join(sections))


def document(title: str, subtitle: str, body: str, css: str = "", script: str = "") -> str:
    """An HTML page that loads nothing. title, subtitle: plain text; body: HTML; css: further rules; script: the only one that may run."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{CSS}{css}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="subtitle">{escape(subtitle)}</p>
{body}
{f"<script>{script}</script>" if script else ""}</body>
</html>
"""


def _policy(script: str) -> str:
    """The content security policy; a script is allowed by its hash, so that none in a name or a file could ever run."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"{POLICY}; script-src 'sha256-{digest}'" if script else POLICY


def section(heading: str, body: str) -> str:
    """A part of the page. heading: plain text; body: HTML."""
    return f"<section>\n<h2>{escape(heading)}</h2>\n{body}\n</section>"


def _columns(layout: str, *parts: str) -> str:
    return f'<div class="columns {layout}">\n' + "\n".join(parts) + "\n</div>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table on a card; cells are plain text, which is escaped here."""
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    body = "\n".join(lines)
    return f'<div class="card"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def chart(svg: str, alt: str, style: str = "narrow") -> str:
    """A chart on a card. svg: SVG text; alt: plain text; style: `narrow`, or `wide` for one that small screens scroll."""
    # As an image, not inline: matplotlib's style rules and ids would leak into the page, and two charts use the same ids.
    encoded = base64.b64encode(svg.encode()).decode()
    return f'<div class="chart"><img class="{style}" alt="{escape(alt)}" src="data:image/svg+xml;base64,{encoded}"></div>'


def _tiles(metrics: Json, decision: Decision) -> str:
    tiles = [("Validation Dice", _dice(metrics["dice"]["mean"]))]
    if "nested" in metrics["dice"]:
        tiles.append(("Validation Dice, nested", _dice(metrics["dice"]["nested"])))
    if "test" in metrics:
        tiles.append(("Test Dice", _dice(metrics["test"]["dice"]["mean"])))
    tiles.append(("Validation images", _count(metrics["n_images"])))
    if "test" in metrics:
        tiles.append(("Test images", _count(metrics["test"]["n_images"])))
    tiles.append(("Folds", _count(metrics["n_folds"])))
    given = decision.threshold
    tiles.append(("Threshold", f"{given:g}" if isinstance(given, float) else "per class" if given else "none (argmax)"))
    if decision.members:
        tiles.append(("Members", _count(len(decision.members))))
    cells = "\n".join(f'<div class="tile"><dt>{name}</dt><dd>{value}</dd></div>' for name, value in tiles)
    return f'<dl class="tiles">\n{cells}\n</dl>'


def _fold_table(metrics: Json) -> str:
    folds = sorted(metrics["dice"]["per_fold"].items(), key=lambda item: int(item[0]))
    return _table(["Fold", "Dice"], [[name, _dice(value)] for name, value in folds])


def _class_table(scores: pd.DataFrame, classes: Sequence[str], data_report: Json) -> str:
    """Worst class first, classes without a Dice last, as in the bars."""
    by_class = scores.set_index("class")
    dice, test = by_class["dice"], by_class.get("test")
    head = ["Class", "Validation Dice", *(["Test Dice"] if test is not None else []), "Mean area, px"]
    rows = []
    for name in sorted(classes, key=lambda name: (_known(dice.get(name), math.inf), name)):
        area = data_report["classes"].get(name, {}).get("mean_area_px")
        rows.append([name, _dice(dice.get(name)), *([_dice(test.get(name))] if test is not None else []), _count(area)])
    return _table(head, rows)


def _searches(decision: Decision) -> str:
    """A table of the searches, and one of what they found; the gain in sample is too high, the nested one is not."""
    heads, rows = ["Gain in sample", "Nested gain", "99 % interval"], []
    found = []
    for name, search in decision.searches.items():
        rows.append([name, search.tried, *_gain(search.gain), "accepted" if search.accepted else "not accepted"])
        found += [[name, label, search.found[label], *_gain(gain)] for label, gain in search.per_class.items()]
    tables = _table(["Search", "Tried", *heads, ""], rows)
    return tables + (_table(["Search", "Class", "Found", *heads], found) if found else "")


def _gain(gain: Gain) -> list[str]:
    return [f"{gain.in_sample:+.4f}", f"{gain.nested:+.4f}", f"{gain.interval[0]:+.4f} to {gain.interval[1]:+.4f}"]


def _attribute_table(rows: Sequence[AttributeRow]) -> str:
    subsets = [name for name in ("held-out", "test") if any(name in row.dice for row in rows)]
    names = {"held-out": "Validation", "test": "Test"}
    head = ["Value", *(text for name in subsets for text in (f"{names[name]} images", f"{names[name]} Dice")), "Lowest classes"]
    cells = [
        [
            f"{row.attribute}: {row.value}",
            *(text for name in subsets for text in (_count(row.images.get(name, 0)), _dice(row.dice.get(name)))),
            row.lowest,
        ]
        for row in rows
    ]
    return _table(head, cells)


def _test_mix(metrics: Json) -> str:
    mixes = metrics["dice"].get("test_mix", {})
    texts = [f"Validation Dice under the test images’ mix of {name}: {mix['mean']:.4f} ({_interval(mix)})." for name, mix in mixes.items()]
    return f'\n<p class="note">{escape(" ".join(texts))}</p>' if texts else ""


def _interval(mix: Json) -> str:
    return f"95 % interval {mix['low']:.4f} to {mix['high']:.4f}" if mix["low"] > 0 else "too few people for an interval"


def _legend() -> str:
    entries = [
        ("line", TRUTH_RGB, "outline of the truth"),
        ("line", PREDICTED_RGB, "outline of the prediction"),
        ("line", (255, 255, 255), "both outlines"),
        ("area", TRUTH_RGB, "missed: truth only"),
        ("area", PREDICTED_RGB, "too much: prediction only"),
    ]
    items = [f'<li class="{kind}"><i style="background:{_css(colour, kind)}"></i>{text}</li>' for kind, colour, text in entries]
    return '<ul class="legend">\n' + "\n".join(items) + "\n</ul>"


def _css(colour: Colour, kind: str) -> str:
    red, green, blue = colour
    return f"rgb({red} {green} {blue} / {0.55 if kind == 'area' else 1})"


def _cases(heading: str, cases: Sequence[Case]) -> str:
    if not cases:
        return ""
    figures = "\n".join(_case(case) for case in cases)
    return f'\n<h3>{escape(heading)}</h3>\n<div class="cases">\n{figures}\n</div>'


def _case(case: Case) -> str:
    caption = f"<p>{escape(case.caption)}</p>" if case.caption else ""
    return (
        f'<figure><img src="{escape(case.picture)}" alt="Truth and prediction of {escape(case.key)}">'
        f"<figcaption><b>{_dice(case.dice)}</b>{escape(case.key)}{caption}</figcaption></figure>"
    )


def _previews(previews: Sequence[Preview]) -> str:
    figures = "\n".join(
        f'<figure><img src="{escape(preview.picture)}" alt="{escape(preview.key)} and augmented versions of it">'
        f"<figcaption>{escape(preview.key)}</figcaption></figure>"
        for preview in previews
    )
    note = "Left: the image at the network’s size. Right: augmented versions of it. Colours: the training target, one hue per class."
    return f'<div class="previews">\n{figures}\n</div>\n<p class="note">{note}</p>'


def _data_summary(data_report: Json) -> str:
    subsets = [name for name in ("train", "test") if name in data_report]
    rows = [[name, _count(data_report[name]["images"]), _count(data_report[name]["people"])] for name in subsets]
    excluded = [str(entry) for entry in data_report.get("excluded", [])]
    notes = [f"Polygons rasterized by {data_report['rasterizer']}."] if data_report.get("rasterizer") else []
    notes.append(f"Excluded: {', '.join(excluded) or 'nothing'}.")
    table = _table(["Subset", "Images", "People"], rows)
    return f'<div class="small">{table}</div>\n<p class="note">{escape(" ".join(notes))}</p>'


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "\n".join(f"<li>{escape(text)}</li>" for text in warnings)
    return f'\n<h3>Warnings</h3>\n<ul class="note">\n{items}\n</ul>'


def _lineage(lineage: Json) -> str:
    text = json.dumps(lineage, indent=2, ensure_ascii=False)
    return f"<details><summary>Code revision, data, models, decision and parameters</summary>\n<pre>{escape(text)}</pre></details>"


def _known(value: float | None, otherwise: float) -> float:
    """`value`, or `otherwise` if it is missing: null or NaN."""
    return otherwise if value is None or math.isnan(value) else value


def _dice(value: float | None) -> str:
    return ABSENT if math.isnan(_known(value, math.nan)) else f"{value:.4f}"


def _count(value: float | None) -> str:
    return ABSENT if math.isnan(_known(value, math.nan)) else f"{value:,.0f}"
