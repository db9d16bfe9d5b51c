"""The pictures to predict: a file, or all files below a folder, whatever their names say that they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from handbone.cache.resize import UInt8Image
from handbone.formats.images import Window, list_files, read_picture
from handbone.formats.labels import safe_name
from handbone.utils.errors import Problem, UserError, raise_if_any

BYTES = 2**30  # of a file


@dataclass(frozen=True)
class Picture:
    """name: the path below the folder; output: the same without suffix, for the files that are written for it."""

    name: str
    output: str
    path: Path

    def __str__(self) -> str:
        return str(self.path)


def find_pictures(source: Path) -> list[Picture]:
    """The file, or all files below the folder, sorted by path, without those of editors and systems.

    Where two names differ only in their suffix, the names of the output keep it. Raises `UserError` (`predict.source`) if there are none.
    """
    files = list_files(source, ("",)) if source.is_dir() else [source] if source.exists() else []
    if not files:
        found = "none" if source.is_dir() else "no such file or folder"
        raise UserError(Problem("predict.source", str(source), "a picture, or a folder with pictures", found, "correct the path"))
    names = [file.relative_to(source) if source.is_dir() else Path(file.name) for file in files]
    stems = Counter(name.with_suffix("") for name in names)
    outputs = [name if stems[name.with_suffix("")] > 1 else name.with_suffix("") for name in names]
    return [Picture(name.as_posix(), output.as_posix(), file) for name, output, file in zip(names, outputs, files, strict=True)]


def read(picture: Picture, window: Window | None) -> UInt8Image:
    """The pixels (H, W), or (H, W, 3) RGB. window: for pictures of more than 8 bits.

    Raises `UserError` as `read_picture` does, and for what is no file, is too large, or has a name that is no text.
    """
    place, fix = str(picture.path), "replace the file, or move it out of the folder"
    raise_if_any(safe_name(picture.name, ascii(place)), "")
    if not picture.path.is_file():  # a named pipe would be read for ever
        raise UserError(Problem("import.picture", place, "a picture", "no file", fix))
    if (size := picture.path.stat().st_size) > BYTES:
        raise UserError(Problem("import.picture", place, f"at most {BYTES >> 20} MiB", f"{size >> 20} MiB", fix))
    return read_picture(picture.path, window=window)
