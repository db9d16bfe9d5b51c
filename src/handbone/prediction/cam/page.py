"""The page of heat maps: one offline HTML file, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from handbone.report.html import Section, document, note

TITLE = "Where the networks look"
NOTE = (
    "Grad-CAM of a class: bright places raise the logits of the pixels in which the network finds the class, or of all pixels, if it finds "
    "none. The heat is as coarse as the layer's map, and shows what the network uses, not whether that is right."
)


@dataclass(frozen=True)
class Heat:
    """The heat map of one class. picture: as a `data:` address; dice: of the class in this image, None if the truth is not known."""

    label: str
    picture: str
    dice: float | None
    remark: str


@dataclass(frozen=True)
class Explained:
    """An image with its heat maps. source: in words, the networks and the layer."""

    name: str
    source: str
    heats: Sequence[Heat]


def cam_page(images: Sequence[Explained]) -> str:
    """The whole page as HTML text."""
    legend = _legend(any(heat.dice is not None for image in images for heat in image.heats))
    sections = [Section(image.name, note(image.source) + _gallery(image.heats)) for image in images]
    return document(TITLE, NOTE, legend, sections)


def _legend(with_truth: bool) -> str:
    lines = [("truth", "outline of the truth")] * with_truth + [("predicted", "outline of the prediction")]
    return '<p class="note legend">' + "".join(f'<i class="{style}"></i>{text}' for style, text in lines) + "</p>"


def _gallery(heats: Sequence[Heat]) -> str:
    return '\n<div class="cases small-cases">\n' + "\n".join(map(_figure, heats)) + "\n</div>"


def _figure(heat: Heat) -> str:
    score = "" if heat.dice is None else f"<b>{heat.dice:.4f}</b>"
    remark = f"<p>{escape(heat.remark)}</p>" if heat.remark else ""
    picture = f'<img alt="Heat map of {escape(heat.label)}" src="{heat.picture}">'
    return f"<figure>{picture}<figcaption>{score}{escape(heat.label)}{remark}</figcaption></figure>"
