"""Parts of an offline page: the document, its sections, tiles, and tables that a click on a heading sorts."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from handbone.evaluation.overlay import PREDICTED_RGB, TRUTH_RGB

Json = Mapping[str, Any]

ABSENT = "–"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
COLOURS = f":root {{ --truth: rgb{TRUTH_RGB}; --predicted: rgb{PREDICTED_RGB}; }}\n"
CSS, SCRIPT = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))


@dataclass(frozen=True)
class Number:
    """A cell that is a number. value: None or NaN is shown as a dash; pattern: as `format` takes it; style: a class of page.css."""

    value: float | None
    pattern: str = ".4f"
    style: str = ""


@dataclass(frozen=True)
class Link:
    """A cell whose text leads to a place on the page. target: an id."""

    text: str
    target: str


@dataclass(frozen=True)
class Drawing:
    """A cell that is a chart. svg: an element, in which names are escaped already; value: by which it is sorted."""

    svg: str
    value: float


Cell = str | Number | Link | Drawing


@dataclass(frozen=True)
class Section:
    """A part of the page. heading: plain text; body: HTML."""

    heading: str
    body: str


def document(title: str, subtitle: str, top: str, sections: Sequence[Section | None]) -> str:
    """An HTML page that loads nothing. title, subtitle: plain text; top: HTML above the sections, of which None is left out."""
    shown = [(name, section) for name, section in zip(_names(sections), sections, strict=True) if section]
    links = "\n".join(f'<a href="#{name}">{escape(each.heading)}</a>' for name, each in shown)
    nav = f"<nav>\n{links}\n</nav>" if len(shown) > 1 else ""
    body = "\n".join(f'<section id="{name}">\n<h2>{escape(each.heading)}</h2>\n{each.body}\n</section>' for name, each in shown)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{COLOURS}{CSS}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="subtitle">{escape(subtitle)}</p>
{top}
{nav}
{body}
<script>{SCRIPT}</script>
</body>
</html>
"""


def _names(sections: Sequence[Section | None]) -> list[str]:
    """An id for each section: its heading, and from the second of a name on a number."""
    names = [re.sub("[^a-z0-9]+", "-", section.heading.lower()) if section else "" for section in sections]
    return [f"{name}-{at}" if name in names[:at] else name for at, name in enumerate(names)]


def _policy() -> str:
    """The content security policy; the script is allowed by its hash, so that none in a name or a file could ever run."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return f"{POLICY}; script-src 'sha256-{digest}'"


def note(text: str) -> str:
    """A remark below what it explains. text: plain text."""
    return f'\n<p class="note">{escape(text)}</p>'


def columns(layout: str, *parts: str) -> str:
    """Parts side by side where there is room. layout: `narrow-wide`, `wide-wide` or `halves`."""
    return f'<div class="columns {layout}">\n' + "\n".join(parts) + "\n</div>"


def tiles(entries: Sequence[tuple[str, str, str]]) -> str:
    """Figures to see first: name, value, and a remark in small letters, which may be empty."""
    cells = "\n".join(
        f'<div class="tile"><dt>{escape(name)}</dt><dd>{escape(value)}{f"<small>{escape(remark)}</small>" if remark else ""}</dd></div>'
        for name, value, remark in entries
    )
    return f'<dl class="tiles">\n{cells}\n</dl>'


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, sortable: bool = False) -> str:
    """A table on a card, which scrolls if it is long. heads, rows: plain text, which is escaped here.

    A column is one of numbers if its cells are `Number`.
    """
    numeric = [any(isinstance(row[at], Number) for row in rows) for at in range(len(heads))]
    titles = (f'<button type="button">{escape(name)}</button>' if sortable else escape(name) for name in heads)
    top = "".join(f'<th scope="col"{_style("number" * number)}>{title}</th>' for title, number in zip(titles, numeric, strict=True))
    lines = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    inner = f"<thead><tr>{top}</tr></thead>\n<tbody>\n{lines}\n</tbody>"
    return f'<div class="card{" tall" * sortable}"><table>\n{inner}\n</table></div>'


def _cell(cell: Cell) -> str:
    if isinstance(cell, Number):
        is_missing = cell.value is None or math.isnan(cell.value)
        value, text = ("", ABSENT) if is_missing else (f"{cell.value:.6g}", format(cell.value, cell.pattern))
        return f'<td{_style(f"number {cell.style}".strip())} data-value="{value}">{escape(text)}</td>'
    if isinstance(cell, Link):
        return f'<td><a href="#{escape(cell.target)}">{escape(cell.text)}</a></td>'
    if isinstance(cell, Drawing):
        return f'<td data-value="{cell.value:.6g}">{cell.svg}</td>'
    return f"<td{_style('wrap' * (len(cell) > 40))}>{escape(cell)}</td>"


def _style(names: str) -> str:
    return f' class="{names}"' if names else ""
