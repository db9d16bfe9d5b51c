"""Charts of the report as SVG, drawn for each look of the screen: light or dark, wide or narrow. Equal input gives equal bytes."""

from __future__ import annotations

import base64
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

FOLD = "fold "  # begins the name of a column with the scores of one fold
DRAWN = ("dice", "low", "high", "test")
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "handbone",
    # Text stays text: the reader's browser has glyphs for class names of any script, matplotlib's font does not.
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Look:
    """The screen that a chart is drawn for: dark or light; narrow, as a phone, or wide."""

    dark: bool = False
    narrow: bool = False

    @property
    def colours(self) -> Colours:
        """Those that stand out from the page's card."""
        return DARK if self.dark else LIGHT


@dataclass(frozen=True)
class Colours:
    """folds: of the lines, one after the other; main, second: two that differ most; better, worse, same: of differences."""

    ink: str
    grid: str
    card: str
    folds: tuple[str, ...]
    main: str
    second: str
    better: str
    worse: str
    same: str


LIGHT_FOLDS = ("#0b62c4", "#c25a00", "#0a855b", "#b0408a", "#5d656e", "#8a6d00", "#0d8496", "#6b4fa0")
DARK_FOLDS = ("#6fb1ff", "#ff9e4a", "#4fd0a0", "#f08acb", "#b8bec6", "#e3c34a", "#5fd0e4", "#b49df0")
LIGHT = Colours("#3a3f45", "#dde1e6", "#ffffff", LIGHT_FOLDS, "#2f6fb0", "#c8500f", "#1b7f3b", "#c8500f", "#8a9099")
DARK = Colours("#c9cdd2", "#35383c", "#191919", DARK_FOLDS, "#6fa8e0", "#ff9e4a", "#5fcf83", "#f0925c", "#8f959c")


def chart(draw: Callable[[Look], str], alt: str, *, narrow: bool = False) -> str:
    """A chart on a card. draw: its SVG text; alt: plain text; narrow: whether it is drawn differently for narrow screens."""
    looks = [
        ("screen and (prefers-color-scheme: dark) and (max-width: 40rem)", Look(dark=True, narrow=True)),
        ("screen and (max-width: 40rem)", Look(narrow=True)),
        ("screen and (prefers-color-scheme: dark)", Look(dark=True)),
    ]
    sources = "".join(f'<source media="{media}" srcset="{_address(draw(look))}">' for media, look in looks if narrow or not look.narrow)
    return f'<div class="chart"><picture>{sources}<img alt="{escape(alt)}" src="{_address(draw(Look()))}"></picture></div>'


def _address(svg: str) -> str:
    # As an image, not inline: matplotlib's style rules and ids would leak into the page, and two charts use the same ids.
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


@contextmanager
def styled(look: Look) -> Iterator[Colours]:
    """Draw in the colours of a look, whatever matplotlibrc the user has."""
    colours = look.colours
    inks = dict.fromkeys(["axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "text.color"], colours.ink)
    cards = dict.fromkeys(["figure.facecolor", "axes.facecolor", "savefig.facecolor"], colours.card)
    with style.context(["default", STYLE | inks | cards | {"grid.color": colours.grid}]):
        yield colours


def curves_svg(curves: Mapping[int, pd.DataFrame], look: Look = Look()) -> str:
    """Training curves as SVG text, one line per fold: loss, and Dice of the held-out people with the best epoch marked.

    curves: fold -> epoch, lr, loss, dice. dice is NaN for an epoch without a score, which the line leaves out.
    """
    with styled(look) as colours:
        figure = Figure(figsize=(3.9, 5.6) if look.narrow else (9.6, 3.9), layout="constrained")
        loss, dice = figure.subplots(*((2, 1) if look.narrow else (1, 2)), sharex=True)
        for place, fold in enumerate(sorted(curves)):
            _draw_fold(loss, dice, fold, curves[fold], colours.folds[place % len(colours.folds)], colours.card)
        _finish_panel(loss, "Training loss")
        _finish_panel(dice, "Dice of the held-out people")
        _zoom_in(dice, [curve["dice"].dropna().to_numpy(float) for curve in curves.values()])
        handles, labels = dice.get_legend_handles_labels()
        lines = max(1, math.ceil(len(handles) / (1 if look.narrow else 4)))
        figure.legend(handles, labels, loc="outside lower center", ncols=max(1, math.ceil(len(handles) / lines)))
        return svg_text(figure)


def classes_svg(rows: pd.DataFrame, look: Look = Look()) -> str:
    """Dice per class as SVG text, the worst class on top: a dot for the mean, a bar for the middle half of the people.

    rows: class, dice, low and high (quartiles over people), if the truth is known test, and a column `fold <k>` per fold.
    """
    rows = rows.sort_values(["dice", "class"], na_position="last").reset_index(drop=True)
    with styled(look) as colours:
        figure = Figure(figsize=(4.3, 0.25 * len(rows) + 1.1), layout="constrained")
        axes = figure.subplots()
        start = _axis_start(rows)
        widths = rows["high"] - rows["low"]
        axes.barh(rows.index, widths, 0.5, left=rows["low"], color=colours.main, alpha=0.4, label="middle half of people")
        for number, name in enumerate(fold_columns(rows)):
            label = "" if number else "each fold"
            axes.plot(rows[name], rows.index, "|", color=colours.ink, markersize=7, markeredgewidth=1.1, label=label)
        axes.plot(rows["dice"], rows.index, "o", color=colours.main, markersize=5, label="held-out mean")
        if "test" in rows and rows["test"].notna().any():
            axes.plot(rows["test"], rows.index, "D", color=colours.second, markersize=4.2, label="test mean", clip_on=False)
        axes.set_yticks(range(len(rows)), labels=rows["class"].astype(str), parse_math=False)
        axes.set(xlim=(start, 1), ylim=(len(rows) - 0.4, -0.6), xlabel="Dice" if start == 0 else f"Dice (the axis starts at {start:g})")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        figure.legend(loc="outside upper center", ncols=2)
        return svg_text(figure)


def fold_columns(rows: pd.DataFrame) -> list[str]:
    """The names of the columns with the scores of one fold each."""
    return [name for name in map(str, rows) if name.startswith(FOLD)]


def _draw_fold(loss: Axes, dice: Axes, fold: int, curve: pd.DataFrame, colour: str, card: str) -> None:
    loss.plot(curve["epoch"], curve["loss"], color=colour, linewidth=1.4)
    validated = curve.dropna(subset=["dice"])
    label = f"fold {fold}"
    if len(validated):
        best = validated.iloc[int(validated["dice"].argmax())]
        label += f": {best['dice']:.4f} at epoch {best['epoch']:.0f}"
        for axes, column in [(loss, "loss"), (dice, "dice")]:
            axes.plot(best["epoch"], best[column], "o", color=card, markersize=6, markeredgecolor=colour, markeredgewidth=1.6, zorder=3)
    dice.plot(validated["epoch"], validated["dice"], color=colour, linewidth=1.4, label=label)


def _finish_panel(axes: Axes, title: str) -> None:
    axes.set(title=title, xlabel="epoch (ring: best epoch)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid()


def _zoom_in(axes: Axes, folds: Sequence[NDArray[np.float64]]) -> None:
    """Cut off the low Dice of the first epochs: the differences that matter are near the top. Every best epoch stays visible."""
    bests = [fold.max() for fold in folds if len(fold)]
    if bests:
        spread = max(max(bests) - float(np.median(np.concatenate(folds))), 0.01)
        axes.set_ylim(max(0.0, min(max(bests) - 4 * spread, min(bests) - spread)), min(1.0, max(bests) + spread))


def _axis_start(rows: pd.DataFrame) -> float:
    """The tenth below the lowest value drawn, so that differences of a hundredth are visible."""
    values = rows[[*(name for name in DRAWN if name in rows), *fold_columns(rows)]].to_numpy(float)
    lowest = float(np.nanmin(values, initial=1.0))
    return max(0.0, math.floor(10 * lowest - 0.5) / 10)


def svg_text(figure: Figure) -> str:
    """A figure as one `<svg>` element: no date, which differs each time, no metadata or document type, which contain web addresses."""
    buffer = BytesIO()
    with warnings.catch_warnings():
        # matplotlib measures a name in its font and warns of glyphs that it lacks; the reader's browser draws them with another font.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(["Date", "Creator", "Format", "Type"]))
    text = buffer.getvalue().decode()
    return text[text.index("<svg") :]
