"""Writing and reading the files of stages: tables, JSON, text, bytes and npz.

Each file is written to a temporary file in the same folder and renamed when complete. So nobody reads an incomplete file, and a link into
DVC's cache is replaced: the cached file does not change.
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
TEXT_COLUMNS = {"key": str, "person": str, "class": str, "image_name": str, "sha256": str}
ATTRIBUTE = "person_"  # prefix of a person's attributes in the index


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """Yield the path of a temporary file in the same folder, and rename it to `path` at the end of the block.

    After an exception the temporary file is removed, and `path` is as before. The folder is created if necessary.
    durable: also wait until the file is on the disk, so that even a power failure leaves no empty file.
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

    Raises `UserError` if the file does not exist.
    """
    return json.loads(require_file(path).read_text(encoding="utf-8"))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write the table as CSV without an index column."""
    with replacing(path) as partial:
        table.to_csv(partial, index=False)


def read_table(path: Path) -> pd.DataFrame:
    """The table that an earlier stage wrote to `path`. Names and attributes are text: 007 keeps its zeros, NA is not a missing value.

    Raises `UserError` if the file does not exist.
    """
    attributes = {name: str for name in pd.read_csv(require_file(path), nrows=0).columns if name.startswith(ATTRIBUTE)}
    return pd.read_csv(path, dtype=TEXT_COLUMNS | attributes, keep_default_na=False, na_values={"dice": [""]})


def write_npz(path: Path, arrays: Arrays, stored: Collection[str] = ()) -> None:
    """Write `arrays` by name. All are compressed except those named in `stored`. Equal arrays give equal bytes in every Python version.

    `np.savez` does not: it declares the size of each member unknown, which Python 3.11.2 and 3.11.7 write into the header differently.
    """
    with replacing(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # its date is always 1980: the time of writing is not part of the content
            member.compress_type = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(member, _npy(array))


def _npy(array: NDArray[Any]) -> bytes:
    file = BytesIO()
    npy.write_array(file, np.asanyarray(array), allow_pickle=False)
    return file.getvalue()
