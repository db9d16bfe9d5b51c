"""The findings as one offline HTML page: a part of each image, the outlines of its labels, and where they were expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np

from handbone.cache.resize import UInt8Image, scaled_rgb, scaled_shape
from handbone.doctor.labels.drawing import Floats
from handbone.doctor.labels.finding import KINDS, Finding
from handbone.masks.rasterize import Polygon
from handbone.report.figures import jpeg_data_uri
from handbone.report.html import Section, document, note

LONGEST = 420  # pixels of a picture: about 20 KB each
MARGIN, LEAST = 0.35, 0.12  # around the outlines: shares of their box, and of the image
COLOURS = {"other": "#7aa7d9", "expected": "#3ddc6d", "found": "#ff5a3c"}
LINES = {"other": 'stroke-width="1"', "expected": 'stroke-width="2" stroke-dasharray="6 4"', "found": 'stroke-width="2"'}
LEGEND = {"found": "as labelled", "expected": "expected there", "other": "other labels"}


@dataclass(frozen=True)
class Picture:
    """One image. polygons: C lists; expected: class -> (n, 2) outline in pixels where it should be."""

    image: UInt8Image
    polygons: Sequence[Sequence[Polygon]]
    expected: Mapping[int, Floats]


def render_gallery(title: str, cards: Sequence[str], left_out: int) -> str:
    """The page. cards: of `render_card`; left_out: findings without one."""
    legend = "".join(f'<i style="background:{COLOURS[kind]}"></i>{text}' for kind, text in LEGEND.items())
    more = note(f"{left_out} more findings without a picture.") if left_out else ""
    body = '<div class="cases" style="align-items:start">\n' + "".join(cards) + "</div>" + more
    subtitle = "errors first, then warnings; the number is how far from usual a finding is, 1 the limit"
    return document(title, subtitle, f'<p class="note legend">{legend}</p>', [Section("Findings", body)])


def render_card(rank: int, finding: Finding, classes: Sequence[str], pictures: Sequence[Picture]) -> str:
    """One finding as HTML. pictures: of its image, and of its twin."""
    drawn = "".join(_svg(picture, finding.classes, classes) for picture in pictures)
    heading = f"{rank}. {finding.key}: {KINDS[finding.kind]}"
    about = f"{finding.names(classes)}: {finding.words}" if finding.classes else finding.words
    caption = f"<b>{finding.strange:.1f}</b>{escape(heading)}<p>{escape(about)}</p>"
    return f"<figure>{drawn}<figcaption>{caption}</figcaption></figure>\n"


def _svg(picture: Picture, about: Sequence[int], classes: Sequence[str]) -> str:
    found = {c: [np.asarray(polygon, np.float64) for polygon in picture.polygons[c]] for c in about if picture.polygons}
    x0, y0, x1, y1 = _region([*(points for of_class in found.values() for points in of_class), *picture.expected.values()], picture.image)
    width, height = x1 - x0, y1 - y0
    others = [polygon for c, of_class in enumerate(picture.polygons) if c not in found for polygon in of_class]
    parts = [_image(picture.image[y0:y1, x0:x1], x0, y0), *(_outline(polygon, "other", max(width, height)) for polygon in others)]
    for style, outlines in (("expected", {c: [points] for c, points in picture.expected.items()}), ("found", found)):
        for c, of_class in outlines.items():
            parts += [_outline(points, style, max(width, height)) for points in of_class]
            # the two names of a class in its place would cover each other
            parts += [_name(classes[c], points, style, max(width, height)) for points in of_class]
    box = f'viewBox="{x0} {y0} {width} {height}"'
    # the inner one cuts off what is outside of the picture
    inner = f'<svg x="{x0}" y="{y0}" width="{width}" height="{height}" {box}>{"".join(parts)}</svg>'
    return f'<svg {box} style="display:block;width:100%;height:22rem;background:#000">{inner}</svg>'


def _region(outlines: Sequence[Floats], image: UInt8Image) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of the part to show: around the outlines; the whole image if there is none."""
    height, width = image.shape[:2]
    if not outlines:
        return 0, 0, width, height
    points = np.concatenate(outlines)
    low, high = points.min(0), points.max(0)
    margin = max(MARGIN * float((high - low).max()), LEAST * max(height, width))
    (x0, y0), (x1, y1) = np.clip([low - margin, high + margin], 0, (width, height)).astype(int).tolist()
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _image(crop: UInt8Image, x0: int, y0: int) -> str:
    height, width = crop.shape[:2]
    picture = scaled_rgb(crop, *scaled_shape((height, width), LONGEST))
    return f'<image href="{jpeg_data_uri(picture)}" x="{x0}" y="{y0}" width="{width}" height="{height}"/>'


def _outline(points: Polygon | Floats, kind: str, side: int) -> str:
    """A polygon with no more points than show at this size."""
    simple = cv2.approxPolyDP(np.asarray(points, np.float32), side / LONGEST / 2, True)[:, 0]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in simple)
    return f'<polygon points="{corners}" fill="none" stroke="{COLOURS[kind]}" {LINES[kind]} vector-effect="non-scaling-stroke"/>'


def _name(name: str, points: Floats, kind: str, side: int) -> str:
    """The name above a label, or below where it is expected: both are often at one place."""
    x, size = float(points[:, 0].mean()), side / 24
    y = float(points[:, 1].min()) - size / 3 if kind == "found" else float(points[:, 1].max()) + size
    style = f'fill="{COLOURS[kind]}" stroke="#000" stroke-width=".2em" paint-order="stroke" text-anchor="middle" font-weight="600"'
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}" {style}>{escape(name)}</text>'
