"""Files that stages write and read: tables, JSON, text and npz.

Every file is written whole to a temporary file in the same folder and then renamed: nobody ever reads half a file, and a link into DVC's
cache is replaced, never written through.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib import format as npy
from numpy.typing import NDArray

from handbone.utils.errors import require_file

Arrays = Mapping[str, NDArray[Any]]
TEXT = {"key": str, "person": str, "class": str, "image_name": str, "sha256": str}
ATTRIBUTE = "person_"  # prefix of a person's attributes in the index


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """A temporary file beside `path` to write to, which takes its name at the end; after an exception it is removed and `path` is as before.

    The folder is created. durable: also wait until the disk has it, so that not even a power cut leaves an empty file under the name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        if durable:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8, line ends as they are."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document; NaN is a ValueError, as `dvc metrics diff` would show it as changed every time."""
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON document that an earlier stage wrote to `path`; a `UserError` if there is none."""
    return json.loads(require_file(path).read_text(encoding="utf-8"))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write the table as CSV without an index column."""
    with replacing(path) as partial:
        table.to_csv(partial, index=False)


def read_table(path: Path) -> pd.DataFrame:
    """The table with names and people's attributes as text: a person called 007 keeps the zeros, a class called NA is no missing value.

    Raises `UserError` if there is no such file.
    """
    attributes = {name: str for name in pd.read_csv(require_file(path), nrows=0).columns if name.startswith(ATTRIBUTE)}
    return pd.read_csv(path, dtype=TEXT | attributes, keep_default_na=False, na_values={"dice": [""]})


def write_npz(path: Path, arrays: Arrays, stored: Collection[str] = ()) -> None:
    """Write `arrays` by name, deflated except for those named in `stored`; equal arrays give equal bytes under every Python.

    `np.savez` writes members of a size that it declares unknown, which Python 3.11.2 and 3.11.7 put into the header in different ways.
    """
    with replacing(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980: the time of writing is not part of the content
            member.compress_type = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(member, _npy(array))


def _npy(array: NDArray[Any]) -> bytes:
    file = BytesIO()
    npy.write_array(file, np.asanyarray(array), allow_pickle=False)
    return file.getvalue()
