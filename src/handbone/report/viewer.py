"""Pictures of layers that a reader switches, zooms and moves, with what page.js needs for that."""

from __future__ import annotations

from html import escape

# id, key of the keyboard, text, what wide screens add to it, and whether it is an area
SWITCHES = [
    ("image", "i", "image", "", True),
    ("truth", "t", "truth", "", False),
    ("predicted", "p", "prediction", " (dashed)", False),
    ("missed", "m", "missed", ": truth only", True),
    ("extra", "e", "too much", ": prediction only", True),
    ("names", "n", "names", " of the lowest classes", False),
]
# action, title, and the button's face
BUTTONS = [
    ("in", "zoom in (+)", "+"),
    ("out", "zoom out (−)", "−"),
    ("reset", "whole picture (0)", '<svg viewBox="0 0 16 16"><path d="M3 9a5 5 0 1 0 2-5M5 1v4h4"/></svg>'),
    ("enlarge", "fill the window (Enter; back: Esc)", '<svg viewBox="0 0 16 16"><path d="M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4"/></svg>'),
]
HINT = (
    "Click a picture: then the wheel zooms, the arrow keys move it, and the keys {} switch the layers. Drag to move, pinch on a phone. "
    "A pointer that rests on an outline shows the class; a class named below a picture zooms to it."
)


def switches(*left_out: str) -> str:
    """The checkboxes that show and hide the layers of all pictures, except those that the pictures do not have."""
    shown = [switch for switch in SWITCHES if switch[0] not in left_out]
    items = [
        f'<label><input type="checkbox" id="show-{name}" data-key="{key}" checked>'
        f'{_sample(name, area)}{text}<span class="wide">{more}</span></label>'
        for name, key, text, more, area in shown
    ]
    hint = HINT.format(", ".join(key for _, key, *_ in shown))
    return f'<div class="switches">{"".join(items)}</div>\n<p class="note hint">{hint}</p>'


def _sample(name: str, area: bool) -> str:
    return "" if name == "names" else f'<i class="{name}{" area" * area}"></i>'


def _tools() -> str:
    buttons = (f'<button type="button" data-action="{action}" title="{title}">{face}</button>' for action, title, face in BUTTONS)
    return f'<div class="tools">{"".join(buttons)}</div>'


def viewer(name: str, pictures: str, caption: str) -> str:
    """A figure. name: its id; pictures: HTML with one SVG or more, which zoom together; caption: HTML."""
    return f'<figure class="viewer" id="{escape(name)}">{pictures}{_tools()}<figcaption>{caption}</figcaption></figure>'


def zoom_button(text: str, part: tuple[int, int, int, int]) -> str:
    """A text that zooms to a part of the picture: x, y, width and height in its units."""
    return f'<button type="button" data-part="{" ".join(map(str, part))}">{escape(text)}</button>'
