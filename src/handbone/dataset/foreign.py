"""Annotation files of other tools, recognised by their content, so that an error can name the command that imports them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {
    "coco": "a COCO file",
    "labelme": "a LabelMe file",
    "cvat": "a CVAT file",
    "csv": "a CSV",
    "handbone": "an annotation file of this project",
}
"""Format -> what an error calls a file of it."""


def format_of(document: Any) -> str | None:
    """The format of a JSON document, one of `NAMES`; None if it has no known one."""
    if not isinstance(document, Mapping):
        return None
    lists = {name for name, value in document.items() if isinstance(value, list)}
    if "categories" in lists and lists & {"images", "annotations"}:
        return "coco"
    if "shapes" in lists:
        return "labelme"
    return "handbone" if "annotations" in lists and "images" not in lists else None


def is_cvat(content: bytes) -> bool:
    """Whether a file begins as CVAT's XML does."""
    start = content[:1000].removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"<") and b"<annotations>" in start


def import_command(name: str) -> str:
    """What a user can do about a file of the format."""
    return f"import it: handbone import {name} SOURCE -o ROOT"
