"""What a pull request changes, for people: OUT/report.md with the tables of DVC, and OUT/classes.png with the Dice of each class.

    python docs/pull_request.py BASE OUT

Compares the checked-out commit with the revision BASE. It reads what git has (metrics, params.yaml, dice_per_class.csv), so it needs
neither the data nor DVC's cache, and of the packages only DVC, pandas and matplotlib. .github/workflows/report.yml posts both files.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

TABLES = {"held-out people": "reports/dice_per_class.csv", "test images": "reports/test_dice_per_class.csv"}
BEFORE, AFTER = "#9aa0a6", "#1967d2"


def run(*command: str) -> str:
    """What a command prints; the error of the command ends the program."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def difference(kind: str, base: str) -> str:
    """DVC's table of what differs in the metrics or in the parameters, or a sentence if nothing does."""
    table = run("dvc", kind, "diff", "--md", "--no-path", base).strip()
    return table if len(table.splitlines()) > 2 else "Nothing differs."  # the first two lines are the header


def table_at(rev: str, path: str) -> pd.Series:
    """The Dice by class of a table in a revision; empty if the revision has no such table."""
    done = subprocess.run(["git", "show", f"{rev}:{path}"], capture_output=True, text=True)
    if done.returncode:
        return pd.Series(dtype=float)
    return pd.read_csv(io.StringIO(done.stdout), keep_default_na=False, dtype={"class": str}).set_index("class")["dice"].astype(float)


def draw(base: str, out: Path) -> None:
    """Each class's Dice in both revisions, one panel per table, in the order of the tables."""
    pairs = {name: (table_at(base, path), table_at("HEAD", path)) for name, path in TABLES.items()}
    shown = {name: pair for name, pair in pairs.items() if len(pair[1])}
    rows = max((len(after) for _, after in shown.values()), default=1)
    figure = Figure(figsize=(5 * max(1, len(shown)), 1.2 + 0.22 * rows), layout="constrained")
    for axes, (name, (before, after)) in zip(figure.subplots(1, max(1, len(shown)), squeeze=False)[0], shown.items(), strict=False):
        before = before.reindex(after.index)
        axes.hlines(after.index, before.fillna(after), after, color=BEFORE, linewidth=1)
        axes.plot(before, after.index, "o", color=BEFORE, label="before")
        axes.plot(after, after.index, "o", color=AFTER, label="after")
        axes.invert_yaxis()
        axes.set(title=f"Dice of the {name}")
        axes.grid(alpha=0.3)
        axes.legend(loc="best", fontsize="small")
    figure.savefig(out, dpi=110)


def main(base: str, out: Path) -> None:
    """Write both files."""
    out.mkdir(parents=True, exist_ok=True)
    metrics, params = difference("metrics", base), difference("params", base)
    (out / "report.md").write_text(f"### Scores\n\n{metrics}\n\n### Parameters\n\n{params}\n", encoding="utf-8")
    draw(base, out / "classes.png")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
