"""Reading a source file, with the right command in the error if it is of another format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from handbone.dataset.foreign import NAMES, format_of, import_command, is_cvat
from handbone.utils.errors import Problem, UserError
from handbone.utils.file_errors import read_bounded

BYTES = 2**31  # of a source file; COCO's training set has 450 MB
JSON = ("coco", "labelme")  # formats that are JSON documents
BLANK = b"\xef\xbb\xbf \t\r\n"  # what may be before the first bracket
Model = TypeVar("Model", bound=BaseModel)


class Fields(BaseModel):
    """Base of what is read of a JSON document: other keys are ignored, nothing is converted silently."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


def existing(path: Path, folder: bool, code: str = "import.source") -> Path:
    """The path, if it is a folder, or a file. Raises `UserError` otherwise."""
    kind = "a folder" if folder else "a file"
    if not (path.is_dir() if folder else path.is_file()):
        found = "no such file or folder" if not path.exists() else "a file" if folder else "a folder"
        raise UserError(Problem(code, str(path), kind, found, "correct the path"))
    return path


def read_document(path: Path, expected: str) -> Any:
    """The JSON document of a file that should be of the format `expected`.

    Raises `UserError` if there is none (import.source), for a file of another format (import.format), and for what is no JSON.
    """
    if path.is_dir() and _has_labelme(path):
        raise UserError(_wrong(path, expected, "labelme"))
    content = read_bounded(existing(path, folder=False), BYTES)
    refuse_others(path, content, expected)
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        found = f"{type(error).__name__}: {error}"[:200]
        raise UserError(Problem("import.json", str(path), f"{NAMES[expected]}, JSON in UTF-8", found, "export it again")) from None
    if format_of(document) != expected:
        raise UserError(_wrong(path, expected, format_of(document)))
    return document


def _has_labelme(folder: Path) -> bool:
    """Whether the first JSON file below the folder is LabelMe's."""
    inside = next(folder.rglob("*.json"), None)
    try:
        return inside is not None and bool(read_document(inside, "labelme"))
    except UserError:
        return False


def refuse_others(path: Path, content: bytes, expected: str) -> None:
    """Raise `UserError` (import.format) if the content is CVAT's XML or a JSON document, but not of the format `expected`."""
    if is_cvat(content):
        name: str | None = "cvat"
    elif expected not in JSON and content.lstrip(BLANK)[:1] in (b"{", b"["):
        try:
            name = format_of(json.loads(content.decode("utf-8-sig")))
        except (ValueError, RecursionError):
            name = None
    else:
        return
    if name != expected:
        raise UserError(_wrong(path, expected, name))


def _wrong(path: Path, expected: str, name: str | None) -> Problem:
    """The problem of a file that is of the format `name` (None: unknown) instead of `expected`."""
    if name == "handbone":
        fix = "it needs no import: docs/data.md shows the folders"
    else:
        fix = "check the path and the format" if name is None else import_command(name)
    return Problem("import.format", str(path), NAMES[expected], "a JSON document" if name is None else NAMES[name], fix)


def parsed(model: type[Model], document: Any, place: str) -> Model:
    """The document as a model. Raises `UserError` (import.field) with every field that is missing or of a wrong type."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise UserError(
            *(_problem(place, details) for details in error.errors(include_url=False)), title=f"{place} cannot be read"
        ) from None


def _problem(place: str, details: Any) -> Problem:
    where = ".".join(map(str, details["loc"]))
    expected = details["msg"].removeprefix("Input should be ")
    return Problem("import.field", f"{place}: {where}", expected, repr(details["input"])[:60], "correct the file, or export it again")
