"""npz files whose bytes follow from their arrays alone, so that a hash over them says whether anything changed."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


def write_npz(path: Path, arrays: Arrays, stored: Collection[str] = ()) -> None:
    """Write `arrays` by name, deflated but for those named in `stored`; folders are made.

    `np.savez` writes members whose size it says it does not know, which Python 3.11.2 puts into the header in another way than 3.11.7 does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a link into DVC's cache, which would be written through
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980: when it was written is not part of it
            member.compress_type = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(member, _npy(array))


def _npy(array: NDArray[Any]) -> bytes:
    file = BytesIO()
    npy.write_array(file, np.asanyarray(array), allow_pickle=False)
    return file.getvalue()
