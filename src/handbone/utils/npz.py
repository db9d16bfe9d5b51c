"""npz files with equal bytes for equal arrays; reading checks names, types and sizes before it takes memory, and every checksum."""

from __future__ import annotations

import errno
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from handbone.utils.errors import Problem, UserError
from handbone.utils.file_errors import reading
from handbone.utils.io import replacing

Arrays = Mapping[str, NDArray[Any]]
LARGEST = 2**30  # bytes of one array; 29 whole maps of 4096 x 4096 pixels are half of it
PIECE = 2**18  # bytes read at a time
# what zipfile and NumPy raise for a file that is not intact
BAD = (ValueError, EOFError, KeyError, OverflowError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)


def write_npz(path: Path, arrays: Arrays, stored: Collection[str] = (), level: int | None = None) -> None:
    """Write `arrays` by name. All are compressed except those named in `stored`. Equal arrays give equal bytes in every Python version.

    `np.savez` does not: it declares the size of each member unknown, which Python 3.11.2 and 3.11.7 write into the header differently.
    level: of the compression, 1 (fast) to 9 (small); null: zlib's default.
    """
    with replacing(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # its date is always 1980: the time of writing is not part of the content
            member.compress_type = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(member, _npy(array), compresslevel=level)


class NpzReader:
    """The members of an open npz. A ValueError, or another of `BAD`, says what is wrong with the file."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.names = [member.filename.removesuffix(".npy") for member in archive.infolist()]

    def require(self, *names: Sequence[str]) -> None:
        """A ValueError if the members are none of these lists of names."""
        if sorted(self.names) not in [sorted(wanted) for wanted in names]:
            raise ValueError(f"the members {', '.join(self.names[:10])}, not {' or '.join(', '.join(wanted) for wanted in names)}")

    def read(self, name: str, dtype: DTypeLike, *shapes: tuple[int | None, ...], limit: int = LARGEST) -> NDArray[Any]:
        """The member as an array of that type and one of the shapes, where None is any number. All of it is read, so its checksum counts.

        limit: bytes; a larger array is refused before it takes memory.
        """
        member = self._archive.getinfo(f"{name}.npy")
        with self._archive.open(member) as file:
            shape, fortran, found = _header(file)
            size = int(np.prod(shape, dtype=object)) * found.itemsize
            if found != np.dtype(dtype) or not any(_fits(shape, wanted) for wanted in shapes):
                raise ValueError(f"{name} of {found} {shape}, not {np.dtype(dtype)} {' or '.join(map(str, shapes))}".replace("None", "any"))
            if member.file_size != file.tell() + size or size > limit:
                raise ValueError(f"{name} of {member.file_size} bytes, not the {size} of {shape} and a header, at most {limit}")
            array = np.empty(shape[::-1] if fortran else shape, found)
            _fill(file, array.reshape(-1).view(np.uint8).data)
        return array.T if fortran else array


@contextmanager
def open_npz(path: Path, code: str, fix: str) -> Iterator[NpzReader]:
    """Open an npz that `write_npz` wrote, to read it in the block.

    Raises `UserError` if there is no such file, and with `code` and `fix` for everything that is wrong with it (`BAD`), in the block too.
    """
    with reading(path):
        try:
            with zipfile.ZipFile(path) as archive:
                yield NpzReader(archive)
        except (*BAD, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place before the file's beginning
                raise
            found = str(error).strip("'\"")[:200] or type(error).__name__
            raise UserError(Problem(code, str(path), "an intact file, as a stage wrote it", found, fix)) from error


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        if npy.read_magic(file) != (1, 0):
            raise ValueError("an array of another format")
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    except Exception as error:  # of Python's tokenizer and parser, which read the header as a literal
        raise ValueError("a header that is none") from error
    return shape, fortran, dtype


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(size >= 0 and other in (None, size) for size, other in zip(shape, wanted, strict=True))


def _fill(file: IO[bytes], target: memoryview) -> None:
    at = 0
    while at < len(target):
        piece = file.read(min(PIECE, len(target) - at))
        if not piece:
            raise EOFError("an array that ends too early")
        target[at : at + len(piece)] = piece
        at += len(piece)


def _npy(array: NDArray[Any]) -> bytes:
    file = BytesIO()
    npy.write_array(file, np.asanyarray(array), allow_pickle=False)
    return file.getvalue()
