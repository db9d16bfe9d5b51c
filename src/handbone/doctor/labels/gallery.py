"""The findings as one offline HTML page: a part of each image, the outlines of its labels, and where they were expected."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np

from handbone.cache.resize import UInt8Image
from handbone.doctor.labels.drawing import Floats
from handbone.doctor.labels.finding import KINDS, Finding
from handbone.masks.rasterize import Polygon

LONGEST = 420  # pixels of a picture: about 20 KB each
QUALITY = 75  # of JPEG
MARGIN, LEAST = 0.35, 0.12  # around the outlines: shares of their box, and of the image
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
CSS = """
:root { color-scheme: dark; }
body { margin: 0 auto; padding: 2rem 1rem; max-width: 90rem; background: #111; color: #ddd; font: 15px/1.45 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.4rem; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; margin-top: 1.5rem; }
figure { margin: 0; background: #1b1b1b; border-radius: 8px; overflow: hidden; }
figure > svg { display: block; width: 100%; height: 22rem; background: #000; }
figcaption { padding: .6rem .8rem; overflow-wrap: anywhere; }
polygon { fill: none; vector-effect: non-scaling-stroke; }
.other { stroke: #7aa7d9; stroke-width: 1; }
.found { stroke: #ff5a3c; stroke-width: 2; }
.expected { stroke: #3ddc6d; stroke-width: 2; stroke-dasharray: 6 4; }
text { paint-order: stroke; stroke: #000; stroke-width: .2em; text-anchor: middle; font-weight: 600; }
text.found { fill: #ff8a72; stroke: #000; } text.expected { fill: #6ff09a; stroke: #000; }
i.found { color: #ff5a3c; } i.expected { color: #3ddc6d; } i.other { color: #7aa7d9; }
p { margin: .2rem 0 0; color: #999; }
"""


@dataclass(frozen=True)
class Picture:
    """One image. polygons: C lists; expected: class -> (n, 2) outline in pixels where it should be."""

    image: UInt8Image
    polygons: Sequence[Sequence[Polygon]]
    expected: Mapping[int, Floats]


def render_gallery(title: str, cards: Sequence[str], left_out: int) -> str:
    """The page. cards: of `render_card`; left_out: findings without one."""
    more = f"<p>{left_out} more findings without a picture.</p>" if left_out else ""
    legend = '<i class="found">red: as labelled</i>, <i class="expected">green: expected there</i>, <i class="other">blue: others</i>'
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p>{legend}</p>
<div class="cases">
{"".join(cards)}
</div>
{more}
</body>
</html>
"""


def render_card(rank: int, finding: Finding, classes: Sequence[str], pictures: Sequence[Picture]) -> str:
    """One finding as HTML. pictures: of its image, and of its twin."""
    drawn = "".join(_svg(picture, finding.classes, classes) for picture in pictures)
    heading = f"{rank}. {finding.key}: {KINDS[finding.kind]}"
    about = f"{finding.names(classes)}: {finding.words}" if finding.classes else finding.words
    caption = f"<b>{escape(heading)}</b><p>{escape(about)} [{finding.strange:.1f}]</p>"
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
    box, content = f'viewBox="{x0} {y0} {width} {height}"', "".join(parts)
    # the inner one cuts off what is outside of the picture
    return f'<svg {box}><svg x="{x0}" y="{y0}" width="{width}" height="{height}" {box}>{content}</svg></svg>'


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
    scale = min(1.0, LONGEST / max(height, width))
    small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else crop
    _, file = cv2.imencode(".jpeg", small if small.ndim == 2 else small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    address = f"data:image/jpeg;base64,{base64.b64encode(file.tobytes()).decode()}"
    return f'<image href="{address}" x="{x0}" y="{y0}" width="{width}" height="{height}"/>'


def _outline(points: Polygon | Floats, style: str, side: int) -> str:
    """A polygon with no more points than show at this size."""
    simple = cv2.approxPolyDP(np.asarray(points, np.float32), side / LONGEST / 2, True)[:, 0]
    return f'<polygon class="{style}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in simple)}"/>'


def _name(name: str, points: Floats, style: str, side: int) -> str:
    """The name above a label, or below where it is expected: both are often at one place."""
    x, size = float(points[:, 0].mean()), side / 24
    y = float(points[:, 1].min()) - size / 3 if style == "found" else float(points[:, 1].max()) + size
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}">{escape(name)}</text>'
