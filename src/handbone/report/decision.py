"""The searches behind the decision, and what they gain."""

from __future__ import annotations

from handbone.evaluation.decision import Decision, Gain
from handbone.report.html import Cell, Number, Section, table


def decision_section(decision: Decision) -> Section | None:
    """A table of the searches, and one of what they found; None without a search. The gain in sample is too high, the nested one is not."""
    heads, rows, found = ["Gain in sample", "Nested gain", "99 % interval"], list[list[Cell]](), list[list[Cell]]()
    for name, search in decision.searches.items():
        rows.append([name, search.tried, *_gain(search.gain), "accepted" if search.accepted else "not accepted"])
        found += [[name, label, search.found[label], *_gain(gain)] for label, gain in search.per_class.items()]
    if not rows:
        return None
    body = table(["Search", "Tried", *heads, "Result"], rows) + (table(["Search", "Class", "Found", *heads], found) if found else "")
    return Section("Decision", body)


def _gain(gain: Gain) -> list[Cell]:
    return [Number(gain.in_sample, "+.4f"), Number(gain.nested, "+.4f"), f"{gain.interval[0]:+.4f} to {gain.interval[1]:+.4f}"]
