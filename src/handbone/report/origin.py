"""How the page came about: the stages with the time that each took here, and the lineage of the submission."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape

from handbone.report.html import ABSENT, Json, Section, note


def stages_section(stages: Sequence[str], seconds: Mapping[str, float]) -> Section:
    """The stages of the graph in their order. seconds: by the name of each run, such as `train@0`; what has none did not run here."""
    items = "\n".join(f"<li><b>{escape(name)}</b><span>{escape(_times(name, seconds))}</span></li>" for name in stages)
    text = (
        f"{duration(sum(seconds.values()))} in all. Each time is that of the stage’s last run in this folder. "
        f"{ABSENT}: it has not ended here yet, as this page’s own stage, or its results come from DVC’s cache."
    )
    return Section("Stages", f'<ol class="steps">\n{items}\n</ol>' + note(text))


def _times(stage: str, seconds: Mapping[str, float]) -> str:
    runs = {name.partition("@")[2]: value for name, value in seconds.items() if name.partition("@")[0] == stage}
    if len(runs) < 2:
        return duration(next(iter(runs.values()))) if runs else ABSENT
    return " + ".join(f"{duration(value)} ({item})" for item, value in sorted(runs.items()))


def duration(seconds: float) -> str:
    """Seconds in words: 4.2 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def lineage_section(lineage: Json) -> Section:
    """The record of the submission, folded away. lineage: any JSON document."""
    text = json.dumps(lineage, indent=2, ensure_ascii=False)
    folded = f"<details><summary>Code revision, data, models, decision and parameters</summary>\n<pre>{escape(text)}</pre></details>"
    return Section("Lineage", folded)
