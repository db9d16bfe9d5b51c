"""The rows that the benchmarks give, as a table for people and as records for a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One hot path: medians in ms (baseline None where there is none), ours' peak memory, the ratio aimed at, and what else to know."""

    name: str
    baseline_ms: float | None
    ours_ms: float
    peak_mb: float
    aim: str = ""
    note: str = ""
    more: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times faster than the baseline."""
        return None if self.baseline_ms is None else self.baseline_ms / self.ours_ms

    def record(self) -> dict[str, str | float | None]:
        """The row for the file."""
        numbers = {"baseline_ms": self.baseline_ms, "ours_ms": self.ours_ms, "ratio": self.ratio, "peak_mb": self.peak_mb} | self.more
        rounded = {key: None if value is None else float(f"{value:.4g}") for key, value in numbers.items()}
        return {"name": self.name} | rounded | {"note": self.note}


def check(equal: bool, what: str) -> None:
    """End the run where ours and the plain way differ: a time for a wrong result says nothing."""
    if not equal:
        raise SystemExit(f"benchmarks: {what}: ours differs from the plain way; nothing more was timed")


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a markdown table."""
    lines = ["| name | baseline ms | ours ms | ratio | at least | peak MB | note |", "|---|---:|---:|---:|---:|---:|---|"]
    return "\n".join(lines + [_line(row) for row in rows])


def _line(row: Row) -> str:
    numbers = [_short(row.baseline_ms), _short(row.ours_ms), _short(row.ratio), row.aim, _short(row.peak_mb)]
    return f"| {row.name} | {' | '.join(numbers)} | {row.note} |"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"
