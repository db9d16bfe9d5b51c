"""Which person an image belongs to, as `--person-from` says; folds never split a person."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath

from handbone.formats.labels import LabelledImage
from handbone.utils.errors import Problem, UserError

FOLDER, COLUMN = "folder", "column:"


def person_rule(rule: str | None) -> Callable[[LabelledImage], str]:
    """The function from an image to its person.

    rule: `folder`, the folder of the image's name; `column:NAME`, a column of the CSV; else a regular expression, whose first group (or
    whole match) in the image's name is the person. None: every image is its own person.
    Raises `UserError` for a rule that is no regular expression; the function raises it for an image without a person.
    """
    if rule is None:
        return lambda image: PurePosixPath(image.name).stem
    if rule == FOLDER:
        return lambda image: _found(image, PurePosixPath(image.name).parent.name, "a name with a folder")
    if rule.startswith(COLUMN):
        column = rule.removeprefix(COLUMN)
        return lambda image: _found(image, image.fields.get(column, ""), f"a column {column} that is not empty")
    try:
        pattern = re.compile(rule)
    except re.error as error:
        fix = "correct it, or use folder or column:NAME"
        raise UserError(Problem("import.person_rule", "--person-from", "a regular expression", str(error), fix)) from None
    return lambda image: _matched(image, pattern)


def _matched(image: LabelledImage, pattern: re.Pattern[str]) -> str:
    match = pattern.search(image.name)
    return _found(image, (match[1 if pattern.groups else 0] or "") if match else "", f"a name that --person-from {pattern.pattern} matches")


def _found(image: LabelledImage, person: str, expected: str) -> str:
    if person:
        return person
    raise UserError(Problem("import.person", image.place, expected, repr(image.name[:80]), "change --person-from, or rename the image"))
