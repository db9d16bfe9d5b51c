"""The data as the first stages found it: how much there is, what was left out, and what they warned of."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from handbone.report.html import Cell, Json, Number, Section, note, table


def data_section(data_report: Json, warnings: Sequence[str]) -> Section:
    """data_report: reports/data.json; warnings: of the stages that checked the data."""
    subsets = [name for name in ("train", "test") if name in data_report]
    rows: list[list[Cell]] = [[name, *(Number(data_report[name][part], ",.0f") for part in ("images", "people"))] for name in subsets]
    excluded = [str(entry) for entry in data_report.get("excluded", [])]
    notes = [f"Polygons rasterized by {data_report['rasterizer']}."] if data_report.get("rasterizer") else []
    notes.append(f"Excluded: {', '.join(excluded) or 'nothing'}.")
    counted = f'<div class="small">{table(["Subset", "Images", "People"], rows)}</div>'
    return Section("Data", counted + note(" ".join(notes)) + _warnings(warnings))


def _warnings(warnings: Sequence[str]) -> str:
    items = "\n".join(f"<li>{escape(text)}</li>" for text in warnings)
    return f'\n<h3>Warnings</h3>\n<ul class="note">\n{items}\n</ul>' if warnings else ""
