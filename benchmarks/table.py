"""The rows of the benchmarks, as a table for people and as records for a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handbone.utils.io import write_text

Record = Mapping[str, Any]
NOT_SHOWN = ("packages", "log_end", "says")  # of a section, at any depth


@dataclass(frozen=True)
class ResultRow:
    """One hot path: medians in ms (baseline: None if there is none), our peak memory, the smallest acceptable ratio, and a note."""

    name: str
    baseline_ms: float | None
    ours_ms: float
    peak_mb: float
    aim: str = ""
    note: str = ""
    more: dict[str, float] = field(default_factory=dict)

    def record(self) -> Record:
        """-> the row for the file."""
        ratio = None if self.baseline_ms is None else self.baseline_ms / self.ours_ms
        numbers = {"baseline_ms": self.baseline_ms, "ours_ms": self.ours_ms, "ratio": ratio, "peak_mb": self.peak_mb} | self.more
        rounded = {key: None if value is None else float(f"{value:.4g}") for key, value in numbers.items()}
        return {"name": self.name} | rounded | {"at_least": self.aim, "note": self.note}


def check(equal: bool, what: str) -> None:
    """End the run if our result differs from the plain computation's: the time of a wrong result means nothing."""
    if not equal:
        raise SystemExit(f"benchmarks: {what}: our result differs from the plain computation's; nothing more was timed")


def markdown(records: Sequence[Record]) -> str:
    """All rows as a Markdown table."""
    lines = ["| name | baseline ms | ours ms | ratio | at least | peak MB | note |", "|---|---:|---:|---:|---:|---:|---|"]
    return "\n".join(lines + [_line(record) for record in records])


def summary(records: Sequence[Record]) -> str:
    """The rows with a baseline, without notes, as a Markdown table for the README."""
    lines = ["| path | baseline ms | ours ms | times faster | peak MB |", "|---|---:|---:|---:|---:|"]
    kept = [record for record in records if record["ratio"] is not None]
    return "\n".join(lines + [f"| {record['name']} | " + " | ".join(_numbers(record)) + " |" for record in kept])


def replace_table(page: Path, rows: str) -> None:
    """Replace the page's table that begins with the same cell."""
    text = page.read_text()
    start = text.index(rows[: rows.index(" |") + 2])
    write_text(page, text[:start] + rows + text[text.index("\n\n", start) :])


def gpu_markdown(sections: Mapping[str, Record]) -> str:
    """What each section of `python -m benchmarks.gpu` found, as a Markdown table; without versions, and without the logs of failures."""
    lines = ["| section | measured | result |", "|---|---|---|"]
    for section, found in sections.items():
        lines += [f"| `{section}` | {name} | {_text(value)} |" for name, value in found.items() if name not in NOT_SHOWN]
    return "\n".join(lines)


def _text(value: Any) -> str:
    """A value of the JSON in one line; of nested ones `name value, name value`, the deeper ones in brackets."""
    if isinstance(value, Mapping):
        shown = {name: one for name, one in value.items() if name not in NOT_SHOWN}
        return ", ".join(f"{name} {f'({_text(one)})' if isinstance(one, Mapping) else _text(one)}" for name, one in shown.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "unknown", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return next(iter(str(value).splitlines()), "").replace("|", "/")  # of a traceback only the error


def _line(record: Record) -> str:
    *times, peak = _numbers(record)
    return f"| {record['name']} | {' | '.join(times)} | {record['at_least']} | {peak} | {record['note']} |"


def _numbers(record: Record) -> list[str]:
    return [_short(record[key]) for key in ("baseline_ms", "ours_ms", "ratio", "peak_mb")]


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"
