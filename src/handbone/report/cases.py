"""Held-out images to look at: the worst, the median and the best, and the worst bones of the worst classes, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape

import numpy as np

from handbone.report.html import Section
from handbone.report.layers import Shown, crop_window, image_layer, layered_svg
from handbone.report.scores import Scores
from handbone.report.viewer import switches, viewer, zoom_button

LONGEST = 2048  # pixels of a whole image: the competition's
CLASSES, CROPS = 4, 4  # classes with the lowest Dice, and images of each
NAME_SIZE = 0.024  # height of the names' letters, as a share of the image's width

Show = Callable[[str], Shown]


def case_name(image: int) -> str:
    """The id of the picture of an image, by its number."""
    return f"case-{image}"


def choose_images(scores: Scores, count: int) -> dict[int, str]:
    """The images with the lowest, the median and the highest mean Dice, by number, each with a word for its place.

    count: of the worst and of the best, if there are so many images.
    """
    order = scores.dice.mean(1).argsort(kind="stable").tolist()
    side = min(count, len(order) // 2)
    between = order[side : len(order) - side]
    words = {image: f"{_ordinal(place)}worst" for place, image in enumerate(order[:side], 1)}
    words |= dict.fromkeys(between[(len(between) - 1) // 2 :][:1], "median")
    return words | {image: f"{_ordinal(place)}best" for place, image in reversed(list(enumerate(order[::-1][:side], 1)))}


def _ordinal(place: int) -> str:
    return {1: "", 2: "2nd ", 3: "3rd "}.get(place, f"{place}th ")


def cases_section(scores: Scores, show: Show, chosen: dict[int, str]) -> Section:
    """Pictures of the chosen images, and of the worst bones. show: an image with all classes, by key; chosen: as `choose_images` gives."""
    whole = [_whole(scores, image, word, show(scores.keys[image])) for image, word in chosen.items()]
    parts = [switches(), _group("Whole images, from the worst to the best", "", whole)]
    for label in scores.dice.mean(0).argsort(kind="stable")[:CLASSES].tolist():
        parts.append(_group(f"Worst of {scores.classes[label]}", "small-cases", list(_bones(scores, label, show))))
    return Section("Cases", "\n".join(parts))


def _group(heading: str, style: str, figures: Sequence[str]) -> str:
    joined = "\n".join(figures)
    return f'<h3>{escape(heading)}</h3>\n<div class="cases {style}">\n{joined}\n</div>'


def _whole(scores: Scores, image: int, word: str, shown: Shown) -> str:
    name, (height, width), lowest = case_name(image), shown.truth.shape, scores.lowest(image)
    window = 0, 0, height, width
    titles = [f"{label} {dice:.4f}" for label, dice in zip(scores.classes, scores.dice[image], strict=True)]
    picture = image_layer(f"{name}-image", shown, window, LONGEST)
    svg = layered_svg(name + "-layers", picture, shown, window, titles, _names(scores, lowest, shown))
    buttons = ", ".join(zoom_button(f"{scores.classes[at]} {scores.dice[image, at]:.3f}", _around(shown, at)) for at in lowest)
    text = f"<b>{scores.dice[image].mean():.4f}</b>{escape(scores.keys[image])}<p>{word}, {_fold(scores, image)}; lowest: {buttons}</p>"
    return viewer(name, svg, text)


def _fold(scores: Scores, image: int) -> str:
    return f"fold {scores.folds[image]}"


def _around(shown: Shown, label: int) -> tuple[int, int, int, int]:
    """x, y, width and height of the part around a class's truth and prediction."""
    bone = shown.only([label])
    y0, x0, y1, x1 = crop_window([bone.truth, bone.predicted])
    return x0, y0, x1 - x0, y1 - y0


def _names(scores: Scores, labels: Sequence[int], shown: Shown) -> str:
    """The names of some classes beside their masks, as a layer of the SVG."""
    width, size, lines = shown.truth.shape[1], NAME_SIZE * shown.truth.shape[1], list[str]()
    boxes = {label: box for label in labels if (box := _box(shown, label)) is not None}
    lowest = -np.inf
    for label, (y0, x0, y1, x1) in sorted(boxes.items(), key=lambda item: item[1][0] + item[1][2]):
        lowest = max((y0 + y1) / 2, lowest + size)  # no name covers another
        x, anchor = (x0 - size / 3, "end") if x1 > 0.75 * width else (x1 + size / 3, "start")
        lines.append(f'<text x="{x:.0f}" y="{lowest:.0f}" text-anchor="{anchor}">{escape(scores.classes[label])}</text>')
    return f'<g class="layer names" font-size="{size:.1f}">{"".join(lines)}</g>'


def _box(shown: Shown, label: int) -> list[int] | None:
    """y0, x0, y1, x1 of a class's truth, or else of its prediction; None if both are empty."""
    return next((masks.boxes[label].tolist() for masks in (shown.truth, shown.predicted) if masks.crops[label].size), None)


def _bones(scores: Scores, label: int, show: Show) -> Iterator[str]:
    for image in scores.dice[:, label].argsort(kind="stable")[:CROPS].tolist():
        key, name, dice = scores.keys[image], f"bone-{label}-{image}", scores.dice[image, label]
        bone = show(key).only([label])
        window = crop_window([bone.truth, bone.predicted])
        picture = image_layer(f"{name}-image", bone, window, LONGEST)
        svg = layered_svg(f"{name}-layers", picture, bone, window, [f"{scores.classes[label]} {dice:.4f}"])
        size = f"{window[3] - window[1]} × {window[2] - window[0]} pixels"
        yield viewer(name, svg, f"<b>{dice:.4f}</b>{escape(key)}<p>{_fold(scores, image)}; {size}</p>")
