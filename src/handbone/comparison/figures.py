"""Pictures of two experiments: intervals of their difference, and crops whose layers can be switched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib.figure import Figure

from handbone.evaluation.bootstrap import Intervals
from handbone.report.charts import Look, styled, svg_text
from handbone.report.layers import Shown, crop_window, image_layer, layered_svg

LONGEST = 1024  # pixels of a crop's longer side


def intervals_svg(names: Sequence[str], intervals: Intervals, look: Look = Look()) -> str:  # noqa: B008
    """Differences with their intervals as SVG text, in the order given: green beyond noise and better, orange and worse, grey within it."""
    signs = np.where(intervals.beyond_noise, np.sign(intervals.mean), 0)
    left, right = _axis_ends(intervals)
    with styled(look) as palette:
        colours = [{1.0: palette.better, -1.0: palette.worse}.get(sign, palette.same) for sign in signs.tolist()]
        figure = Figure(figsize=(4.3 if look.narrow else 9.6, 0.2 * len(names) + 0.8), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=palette.ink, linewidth=0.8)
        rows = range(len(names))
        axes.hlines(rows, np.maximum(intervals.low, left), np.minimum(intervals.high, right), colors=colours, linewidth=2)
        axes.scatter(intervals.mean, rows, c=colours, s=22, zorder=3)
        axes.set_yticks(rows, labels=list(names), parse_math=False)
        axes.set(xlim=(left, right), ylim=(len(names) - 0.4, -0.6), xlabel="difference of the mean Dice (second minus first)")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        return svg_text(figure)


def _axis_ends(intervals: Intervals) -> tuple[float, float]:
    """The ends of the axis, with 0 on it. Intervals of a class in which too few differ reach from -1 to 1: they would hide all others."""
    known = (intervals.low > -1) & (intervals.high < 1)
    values = np.concatenate([intervals.low[known], intervals.high[known], intervals.mean, [0.0]])
    margin = max(0.001, 0.08 * float(np.ptp(values)))
    return float(values.min()) - margin, float(values.max()) + margin


@dataclass(frozen=True)
class Pair:
    """The same part of an image under two experiments, as SVG. shape: (h, w) in pixels at full resolution."""

    first: str
    second: str
    shape: tuple[int, int]


def layers(name: str, first: Shown, second: Shown, titles: Sequence[str]) -> Pair:
    """Crops around the masks of both experiments. name: an id that the page has once; titles: of the classes."""
    window = crop_window([first.truth, first.predicted, second.truth, second.predicted])
    image, again = image_layer(name, second, window, LONGEST), f'<use class="layer image" href="#{escape(name)}"/>'
    one = layered_svg(f"{name}-first", image, first, window, titles)
    two = layered_svg(f"{name}-second", again, second, window, titles)
    return Pair(one, two, (window[2] - window[0], window[3] - window[1]))
