"""Several submissions side by side: the same images and classes, in the order of the first file, whatever the order of the others.

Each file stays in memory as text; masks are decoded for one image at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from handbone.config.params import SubmissionParams
from handbone.masks.rle import decode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import COMPETITION, LARGEST_SIDE, submission_table
from handbone.utils.csv_rows import quoted
from handbone.utils.errors import Problem, UserError, all_of, raise_if_any
from handbone.utils.names import composed

CODE, TITLE = "submission.rows", "the submissions cannot be used together"
RowName = tuple[str, str]  # image name and class


@dataclass(frozen=True)
class AlignedImage:
    """C masks of one image from each of N submissions; name and classes as the first file spells them."""

    name: str
    classes: list[str]
    masks: list[RunLengthMasks]


@dataclass(frozen=True)
class _Encodings:
    """The encodings of one submission. rows: the index of each row by `_same`; names, texts, lines: of each row."""

    path: Path
    rows: dict[RowName, int]
    names: list[RowName]
    texts: list[str]
    lines: list[int]

    def decode(self, name: str, classes: Sequence[str]) -> RunLengthMasks:
        """The C masks of an image. A CSV does not say how large it is: their shape is that of the largest image possible."""
        rows = [self.rows[_same((name, label))] for label in classes]
        places = [f"{self.path}: line {self.lines[row]}: {name}, {label}" for row, label in zip(rows, classes, strict=True)]
        return decode_runs([self.texts[row] for row in rows], LARGEST_SIDE, LARGEST_SIDE, places)


@dataclass(frozen=True)
class AlignedSubmissions:
    """N submissions that have the same rows."""

    files: list[_Encodings]

    def images(self) -> Iterator[AlignedImage]:
        """The masks, image by image: those rows of an image that follow each other in the first file.

        Raises `UserError` (rle.syntax) at the end with every encoding of all files that is invalid; after the first no image is yielded.
        """
        problems: list[Problem] = []
        for name, rows in groupby(self.files[0].names, key=lambda row: row[0]):
            masks, classes = [], [label for _, label in rows]
            for file in self.files:
                try:
                    masks.append(file.decode(name, classes))
                except UserError as error:
                    problems += error.problems
            if not problems:
                yield AlignedImage(name, classes, masks)
        raise_if_any(problems, TITLE)


def read_aligned(paths: Sequence[Path], form: SubmissionParams = COMPETITION) -> AlignedSubmissions:
    """Read submissions of the same images and classes. Runs stay in the order of pixels of the files.

    Raises one `UserError` with the faults of all files: those of `read_submission`, each row that a file has twice, and each image, class
    and row that it lacks and another file has.
    """
    files = all_of(TITLE, *(partial(_read, path, form) for path in paths))
    every = dict.fromkeys(row for file in files for row in file.rows)
    if not every:
        expected, fix = "one row per image and class", "name submissions that have rows"
        raise UserError(Problem(CODE, " and ".join(map(str, paths)), expected, "no row", fix))
    raise_if_any([problem for file in files for problem in _missing(file, every)], TITLE)
    return AlignedSubmissions(files)


def _same(row: RowName) -> RowName:
    """The same for names that people read as the same."""
    return composed(row[0]), composed(row[1])


def _read(path: Path, form: SubmissionParams) -> _Encodings:
    table = submission_table(path, form)
    names = list(zip(table.column("image_name"), table.column("class"), strict=True))
    rows, problems = dict[RowName, int](), []
    for index, row in enumerate(names):
        if (first := rows.setdefault(_same(row), index)) != index:
            found = f"{', '.join(map(quoted, row))} again, first in line {table.lines[first]}"
            problems.append(Problem(CODE, table.place(index), "one row per image and class", found, "remove one of the two rows"))
    raise_if_any(problems, TITLE)
    return _Encodings(path, rows, names, table.column("rle"), table.lines)


def _missing(file: _Encodings, every: Collection[RowName]) -> list[Problem]:
    """A problem for each image and class that the file lacks altogether, and for each single row."""
    images, classes = {name for name, _ in file.rows}, {label for _, label in file.rows}

    def place(name: str, label: str) -> str:
        if name not in images:
            return f"image {name}"
        return f"class {label}" if label not in classes else f"{name}, {label}"

    expected = f"in {file.path} every row that another file has"  # names the file, as equal problems are merged and then name few places
    places = dict.fromkeys(place(*row) for row in every if row not in file.rows)
    return [Problem(CODE, f"{file.path}: {one}", expected, "no such row", "add the rows, or leave this file out") for one in places]
