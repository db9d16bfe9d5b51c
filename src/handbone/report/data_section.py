"""The part of the report that shows the data: its classes, how they overlap, its people and folds. Charts follow the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd

from handbone.report.data_statistics import ClassStatistics, DataSet, Floats
from handbone.report.html import Cell, Drawing, Json, Number, Section, columns, note, table

COUNTED = ["images", "people"]
PAIRS = 12  # in the table of those that overlap most
LEAST = 0.005  # of a class: less in another one is a line of pixels here and there
CELL, LETTER, LABEL = 22, 6.6, 16  # of the heat map: pixels of a cell and of a letter, letters of a name


def training_data_section(data: DataSet, report: Json) -> Section:
    """report: reports/data.json."""
    parts = [
        ("Classes", _class_table(data, report.get("points", {}))),
        ("Overlaps", _overlaps(data.classes, data.statistics)),
        ("Folds", _folds(data.folds, len(data.statistics.pixels)) + _people(data.people)),
        ("People", _values(data.values) if len(data.values) else ""),
    ]
    return Section("Training data", "\n".join(f"<h3>{heading}</h3>\n{body}" for heading, body in parts if body))


def _class_table(data: DataSet, points: Json) -> str:
    """Largest class first. points: of data.json."""
    areas, statistics = data.statistics.areas.astype(float), data.statistics
    shares = np.where(areas > 0, areas / statistics.pixels[:, None], np.nan)
    shown = [index for index in np.argsort(-np.median(areas, 0), kind="stable").tolist() if (areas[:, index] > 0).any()]
    if not shown:
        return note("No class is drawn.")
    low, high = np.nanmin(shares), np.nanmax(shares)
    rows: list[list[Cell]] = []
    for index in shown:
        name, there = data.classes[index], areas[:, index][areas[:, index] > 0]
        drawn = points.get(name, {})
        counts = [float(np.median(there)), len(there), *(drawn.get(part) for part in ("polygons", "median", "min", "max"))]
        cells = [Number(count, ",g" if at == 3 else ",.0f") for at, count in enumerate(counts)]
        last = Number(100 * statistics.multiple[index], ".1f"), Number(statistics.exclusive[index])
        rows.append([name, Drawing(_strip(shares[:, index], low, high), float(np.nanmedian(shares[:, index]))), *cells, *last])
    heads = ["Class", "Area", "Median, px", "Images", "Polygons", "Points", "Fewest", "Most", "Shared, %", "Dice, exclusive"]
    return table(heads, rows, sortable=True) + note(
        f"Area: of the image, on a logarithmic scale from {_percent(low)} to {_percent(high)}; the line reaches from the smallest to the "
        "largest mask, the box holds the middle half of them, the mark is the median. Points: of a polygon, the median, the fewest and "
        "the most; a mask of pixels counts as its outlines. Shared: pixels that are in another class too. Dice, exclusive: see below."
    )


def _strip(shares: Floats, low: float, high: float) -> str:
    """The spread of one class as a chart that stretches with its cell. low, high: the ends of the scale."""
    quantiles = np.log(np.quantile(shares[~np.isnan(shares)], [0, 0.25, 0.5, 0.75, 1]))
    least, lower, median, upper, most = (1000 * (quantiles - np.log(low)) / max(np.log(high / low), 1e-9)).clip(0, 1000)
    bars = [(least, most, 7, 2, 0.5), (lower, upper, 3, 10, 0.4), (median - 4, median + 4, 1, 14, 1)]
    rects = "".join(
        f'<rect x="{left:.0f}" y="{top}" width="{max(4, right - left):.0f}" height="{height}" fill-opacity="{opacity}"/>'
        for left, right, top, height, opacity in bars
    )
    style = "display:block;width:100%;min-width:8rem;height:1rem"
    return f'<svg viewBox="-10 0 1020 16" preserveAspectRatio="none" fill="currentColor" style="{style}" aria-hidden="true">{rects}</svg>'


def _overlaps(classes: Sequence[str], statistics: ClassStatistics) -> str:
    within = statistics.within
    shown = np.flatnonzero(((within >= LEAST) | (within.T >= LEAST)).any(1))
    if not len(shown):
        return note(f"No class has {_percent(LEAST)} of its pixels in another one.")
    names = [classes[index] for index in shown.tolist()]
    pairs = _pairs(names, within[np.ix_(shown, shown)])
    svg = _heat_map(names, within[np.ix_(shown, shown)])
    left_out = f", and classes with empty cells only are left out ({len(classes) - len(shown)})" if len(shown) < len(classes) else ""
    scale = note(
        f"Percent of the row’s class in the column’s, over all training images. Below {_percent(LEAST)} a cell is empty{left_out}."
    )
    return columns("halves", f'<div class="card">{svg}</div>', pairs) + scale + note(_exclusive(classes, statistics))


def _exclusive(classes: Sequence[str], statistics: ClassStatistics) -> str:
    """What labels that exclude each other lose."""
    lowest = ", ".join(
        f"{classes[index]} {statistics.exclusive[index]:.4f}" for index in np.argsort(statistics.exclusive, kind="stable")[:3].tolist()
    )
    return (
        f"{_percent(statistics.contested)} of all pixels in a class are in several. Labels that exclude each other, as an argmax gives "
        "them, can keep one class for each of them. If that is the class that is smallest in the image, and all else is right to the "
        f"pixel, the mean Dice is {statistics.exclusive.mean():.4f}; lowest: {lowest}."
    )


def _pairs(names: Sequence[str], within: Floats) -> str:
    """A table of the pairs that overlap most, as shares of the class that lies in the other one."""
    greater = np.where((within > within.T) | ((within == within.T) & np.tri(len(within), k=-1).T.astype(bool)), within, 0)  # each pair once
    order = np.dstack(np.unravel_index(np.argsort(-greater, axis=None, kind="stable"), within.shape))[0][:PAIRS].tolist()
    rows: list[list[Cell]] = [
        [names[first], names[second], Number(100 * within[first, second], ".1f"), Number(100 * within[second, first], ".1f")]
        for first, second in order
        if greater[first, second] >= LEAST
    ]
    return table(["Class", "Lies in", "% of the first", "% of the second"], rows)


def _heat_map(names: Sequence[str], within: Floats) -> str:
    """Rows and columns by class, darker cells for larger shares; numbers in percent."""
    labels = [name if len(name) <= LABEL else f"{name[: LABEL - 1]}…" for name in names]
    margin = round(LETTER * max(map(len, labels))) + 8
    side = margin + CELL * len(names)
    marks = []
    for at, (name, label) in enumerate(zip(names, labels, strict=True)):
        middle = margin + CELL * (at + 0.5)
        title = f"<title>{escape(name)}</title>"
        marks.append(f'<text x="{margin - 6}" y="{middle + 4}" text-anchor="end">{title}{escape(label)}</text>')
        marks.append(f'<text transform="translate({middle + 4} {margin - 6}) rotate(-90)">{title}{escape(label)}</text>')
        marks.append(f'<rect x="{margin + CELL * at}" y="{margin + CELL * at}" width="{CELL}" height="{CELL}" fill-opacity=".06"/>')
    for row, column in zip(*np.nonzero(within >= LEAST), strict=True):
        share, x, y = within[row, column], margin + CELL * column, margin + CELL * row
        title = f"<title>{share:.1%} of {escape(names[row])} lies in {escape(names[column])}</title>"
        marks.append(f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill-opacity="{0.1 + 0.45 * share**0.5:.2f}">{title}</rect>')
        place = f'x="{x + CELL / 2}" y="{y + CELL / 2 + 4}" text-anchor="middle" pointer-events="none"'
        marks.append(f"<text {place}>{max(1, round(100 * share))}</text>")
    grid = "".join(
        f'<path d="M{margin} {at}H{side}M{at} {margin}V{side}" stroke="currentColor" stroke-opacity=".12"/>'
        for at in range(margin, side + 1, CELL)
    )
    style = f"display:block;width:{side}px;max-width:none;font:11px system-ui,sans-serif"
    return (
        f'<svg role="img" aria-label="Share of each class that lies in another" viewBox="0 0 {side} {side}" fill="currentColor" '
        f'style="{style}">{grid}{"".join(marks)}</svg>'
    )


def _folds(folds: pd.DataFrame, images: int) -> str:
    """Images and people by fold; and the images of each class that some image lacks."""
    rows: list[list[Cell]] = [[str(fold), *map(_count, row)] for fold, row in zip(folds.index, folds[COUNTED].to_numpy(), strict=True)]
    sizes = f'<div class="small">{table(["Fold", "Images", "People"], rows)}</div>'
    lacking = folds.drop(columns=COUNTED).T
    if not len(lacking):
        return sizes + note(f"Every one of {images:,} training images shows every class.")
    counts = lacking.assign(all=lacking.sum(axis=1)).sort_values("all", kind="stable")
    heads = ["Images with", *(f"Fold {fold}" for fold in lacking.columns), "All"]
    rows = [[str(name), *map(_count, row)] for name, row in zip(counts.index, counts.to_numpy(), strict=True)]
    title = f"Images of each class that is not in all {images:,} training images ({len(lacking)} of the classes), the rarest first"
    return f"{sizes}\n<details><summary>{title}</summary>\n{table(heads, rows, sortable=True)}</details>"


def _people(people: pd.Series) -> str:
    """How many people have how many images."""
    counts = people.value_counts().sort_index()
    texts = [f"{number:,} with {images:,}" for images, number in counts.items()]
    return note(f"Images per person, of {len(people):,} people: {', '.join(texts)}.")


def _values(values: pd.DataFrame) -> str:
    rows: list[list[Cell]] = [
        [f"{attribute}: {value or 'unknown'}", *map(_count, row)]
        for (attribute, value), row in zip(values.index, values.to_numpy(), strict=True)
    ]
    heads = ["Value", *(str(name).capitalize() for name in values.columns)]
    return table(heads, rows) + note("Images by value; attributes with more values than a table can show are left out.")


def _count(number: float) -> Number:
    return Number(number, ",.0f")


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
