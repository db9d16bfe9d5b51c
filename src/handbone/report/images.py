"""Every held-out image, in a table to sort."""

from __future__ import annotations

from collections.abc import Collection

from handbone.report.cases import case_name
from handbone.report.html import Cell, Link, Number, Section, note, table
from handbone.report.scores import Scores


def images_section(scores: Scores, pictured: Collection[int]) -> Section:
    """The lowest Dice first. pictured: images, by number, that the page shows."""
    heads = ["Image", "Person", "Fold", "Dice", *(["Dice, nested"] if scores.searched else []), "IoU", "Lowest classes"]
    rows = [_row(scores, image, image in pictured) for image in scores.dice.mean(1).argsort(kind="stable").tolist()]
    text = "Means over the classes, at full resolution. The IoU is never above the Dice: IoU = Dice / (2 − Dice) for one mask."
    return Section("Images", table(heads, rows, sortable=True) + note(text))


def _row(scores: Scores, image: int, pictured: bool) -> list[Cell]:
    lowest = ", ".join(f"{scores.classes[label]} {scores.dice[image, label]:.3f}" for label in scores.lowest(image))
    means = [scores.dice, *([scores.unseen] if scores.searched else []), scores.iou]
    return [
        Link(scores.keys[image], case_name(image)) if pictured else scores.keys[image],
        scores.people[image],
        Number(scores.folds[image], ".0f"),
        *(Number(float(values[image].mean())) for values in means),
        lowest,
    ]
