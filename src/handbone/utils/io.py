"""Writing and reading the files of stages: tables, JSON, text and bytes.

Each file is written to a temporary file in the same folder and renamed when complete. So nobody reads an incomplete file, and a link into
DVC's cache is replaced: the cached file does not change. What the operating system refuses is a `UserError` that names the file.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from handbone.utils.csv_rows import REWRITE, key_problems, number_problems, quoted, read_csv_rows, repeated
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.file_errors import file_problem, hidden_disk_error, is_about, read_bounded
from handbone.utils.partial_files import create_partial, left_behind, partial_path, remove_dead_partials

TEXT_COLUMNS = {"key", "person", "class", "image_name", "sha256", "subset", "attribute", "value"}
JSON_BYTES = 2**26  # of a document
ATTRIBUTE = "person_"  # prefix of a person's attributes in the index
DEVICES = Path("/dev")
OPTIONAL = ("dice", "hd95", "assd")  # columns of numbers with empty fields: epochs without a score, images without distances
ROW_NAMES = [
    ("subset", "attribute", "value", "class"),
    ("key", "class"),
    ("key",),
    ("class",),
    ("epoch",),
]  # the first of these that a table has identifies its rows


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """Yield the path of an empty temporary file in the same folder, and rename it to `path` at the end of the block.

    After an exception the temporary file is removed, and `path` is as before. The folder is created if necessary. The file gets the
    permissions that a new file has here, also from a library that would restrict them. Temporary files of `path` whose process was killed
    are removed. No other thread and no other process on any machine uses the same temporary file.
    durable: also wait until the file is on the disk, so that even a power failure leaves no empty file.
    Raises `UserError` (`io.disk_full`, `io.permission`, `io.folder`, `io.failed`) if the system does not let the file be written, and
    (`io.folder`, `io.target`) for a path that no file may take.
    """
    _require_target(path)
    partial = partial_path(path)
    with _removed_after_errors(path, partial):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_dead_partials(path)
        mode = create_partial(partial)
        yield partial
        if partial.stat().st_mode != mode:
            partial.chmod(mode)
        if durable:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        partial.replace(path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`, which must not exist, and rename it to `path` at the end of the block.

    After an exception the temporary folder is removed, and so are those of `path` whose process was killed.
    Raises `UserError` as `replacing` does.
    """
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_dead_partials(path, folder=True)
        remove_folder(partial)
        partial.mkdir()
        yield partial
        partial.rename(path)
    except BaseException as error:
        remove_folder(partial)
        if isinstance(error, OSError) and is_about(error, path, partial):
            raise UserError(file_problem(error, path)) from error
        raise


def _require_target(path: Path) -> None:
    """Raise `UserError` for what would be lost if a file took its name: a folder, a pipe, and a device such as /dev/null, as root may."""
    expected, fix = "a file, or a path that does not exist yet", "name another file"
    if os.path.isdir(path):
        raise UserError(Problem("io.folder", str(path), expected, "a folder", fix))
    if path.parent == DEVICES or (os.path.exists(path) and not os.path.isfile(path)):
        raise UserError(Problem("io.target", str(path), expected, "a device or a pipe", fix))


@contextmanager
def _removed_after_errors(path: Path, partial: Path) -> Iterator[None]:
    """Remove `partial` after an exception of the block, and turn what the system says about these two files into a `UserError`."""
    try:
        yield
    except BaseException as error:
        problems = _write_problems(error, path, partial)
        try:
            if os.path.lexists(partial):
                partial.unlink()
        except OSError as left:
            problems += [left_behind(left, partial)]
        if problems:
            raise UserError(*problems) from error
        raise


def _write_problems(error: BaseException, path: Path, partial: Path) -> list[Problem]:
    """The problem of writing `path`, if the exception is about it; other exceptions belong to the caller."""
    written = partial.stat().st_size if partial.is_file() else 0
    if isinstance(error, OSError):
        return [file_problem(error, path, written)] if is_about(error, path, partial) else []
    hidden = hidden_disk_error(error, path) if isinstance(error, Exception) and not isinstance(error, UserError) else None
    return [] if hidden is None else [file_problem(hidden, path, written)]


def remove_folder(path: Path) -> None:
    """Remove a folder and everything in it; nothing happens if there is none. Raises `UserError` with what cannot be removed."""
    problems: list[Problem] = []

    def failed(_: object, name: str, error: BaseException) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            problems.append(left_behind(error, Path(name)))

    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, onerror=lambda function, name, info: failed(function, name, info[1]))
    raise_if_any(problems, f"{path} cannot be removed")


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8; line ends stay as they are."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` unchanged."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document. Raises ValueError for NaN, which `dvc metrics diff` would always show as changed."""
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON document that an earlier stage wrote to `path`.

    Raises `UserError` if the file does not exist, is no JSON in UTF-8, has a key twice or a number that is not finite.
    """
    data = read_bounded(path, JSON_BYTES)
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique_keys, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise UserError(Problem("json.syntax", str(path), "a JSON document in UTF-8", str(error)[:200], REWRITE)) from None


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `object_pairs_hook` of json: a ValueError for a key that an object has twice, of which Python would keep the last value."""
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError(f"a key twice among {', '.join(quoted(key) for key, _ in pairs[:20])}")
    return document


def _no_constant(name: str) -> float:
    raise ValueError(f"{name}, which is no number")


def _finite(text: str) -> float:
    return number if math.isfinite(number := float(text)) else _no_constant(text[:40])


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write the table as CSV without an index column."""
    with replacing(path) as partial:
        table.to_csv(partial, index=False)


def read_table(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """The table that an earlier stage wrote to `path`. Names and attributes are text: 007 keeps its zeros, NA is not a missing value.

    columns: names that must be in the header.
    Raises `UserError` if the file does not exist, for every fault that `read_csv_rows` lists, for numbers that are not finite numbers, for
    keys that are no path inside a folder, and for two rows of the same name (`ROW_NAMES`).
    """
    table = read_csv_rows(path, columns)
    numbers = [name for name in table.header if name not in TEXT_COLUMNS and not name.startswith(ATTRIBUTE)]
    names = next((names for names in ROW_NAMES if set(names) <= set(table.header)), ())
    problems = key_problems(table) + number_problems(table, numbers, OPTIONAL) + (repeated(table, names) if names else [])
    raise_if_any(problems, f"{path} cannot be used")
    texts = {name: str for name in table.header if name not in numbers}
    return pd.read_csv(StringIO(table.text), dtype=texts, keep_default_na=False, na_values={name: [""] for name in OPTIONAL})


def read_class_table(
    path: Path, columns: Sequence[str], keys: Iterable[str] | None = None, classes: Iterable[str] | None = None
) -> pd.DataFrame:
    """A table with one row for each key and class. keys, classes: which there must be; null: those that it names.

    columns: further names that must be in the header. Raises `UserError` as `read_table` does, and with each row that is missing or
    unknown.
    """
    table = read_table(path, ["key", "class", *columns])
    keys, classes = table["key"] if keys is None else keys, table["class"] if classes is None else classes
    wanted, found = set(product(keys, classes)), set(zip(table["key"], table["class"], strict=True))
    expected = "one row for each image and each class of params.yaml"
    faults = [(*row, "none") for row in sorted(wanted - found)] + [(*row, "an unknown one") for row in sorted(found - wanted)]
    problems = [Problem("table.rows", f"{path}: {key}, {label}", expected, fault, REWRITE) for key, label, fault in faults]
    raise_if_any(problems, f"{path} cannot be used")
    return table
