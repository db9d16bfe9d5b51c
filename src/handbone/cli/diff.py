"""`handbone diff a.csv b.csv`: how far the masks of two submissions differ."""

from __future__ import annotations

from pathlib import Path

from handbone.config.params import submission_params
from handbone.evaluation.dice import mean_dice, per_class, with_dice
from handbone.submission.alignment import read_aligned
from handbone.submission.difference import count_differences

WORST = 5  # images


def print_difference(one: Path, other: Path) -> None:
    """Print the Dice between two submissions per class, the images that differ most, the mean, and how many rows differ.

    Raises `UserError` with the faults of both files.
    """
    counts = count_differences(read_aligned([one, other], submission_params()))
    for name, dice in per_class(counts).items():
        print(f"{name:>16}  {dice:.4f}")
    images = with_dice(counts).groupby("key", sort=False)["dice"].mean()
    differing = counts[["fp", "fn"]].any(axis=1)
    changed = images[counts.loc[differing, "key"].unique()]
    if len(changed):
        print("images that differ most, and the mean Dice of their classes:")
    for name, dice in changed.nsmallest(WORST).items():
        print(f"  {dice:.4f}  {name}")
    over = f"{counts['class'].nunique()} classes and {len(images)} images"
    print(f"{one} and {other}: mean Dice {mean_dice(counts):.4f} over {over}; {differing.sum()} of {len(counts)} rows differ")
