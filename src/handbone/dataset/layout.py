"""Folders of the competition -> samples.

<root>/train/DCM/<person>/<image>.png          <root>/train/outputs_json/<person>/<image>.json
<root>/test/DCM/<person>/<image>.png           <root>/test_truth/outputs_json/<person>/<image>.json  (where the truth is known)
<root>/people.csv                              (where something is known of the people)
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from handbone.utils.errors import Problem, UserError, nearest, raise_if_any

SUBSETS = ("train", "test")
People = Mapping[str, Mapping[str, str]]
"""Attribute -> person -> value, all text; a person of whom nothing is said is absent."""


@dataclass(frozen=True)
class Sample:
    """One image; `key` is its path below DCM without suffix, e.g. `ID001/image1661130828152_R`."""

    subset: str
    key: str
    image: Path
    annotation: Path | None

    @property
    def person(self) -> str:
        """The folder that groups a person's images."""
        return self.key.split("/")[0]


def find_samples(root: Path, exclude: Sequence[str]) -> list[Sample]:
    """Every sample below `root` but the excluded keys and people, train before test, sorted by key.

    Raises `UserError` with every missing folder, linked one, image without annotation, annotation without image, and image name used
    twice, and where nothing is left of a subset.
    """
    raise_if_any(_links(root), f"{root} cannot be used")
    images = {subset: _files(root / subset / "DCM", ".png") for subset in SUBSETS}
    annotations = _files(root / "train" / "outputs_json", ".json")
    _check_exclude(exclude, [*images["train"], *annotations, *images["test"]])
    kept = {subset: _without(files, exclude) for subset, files in images.items()}
    annotations = _without(annotations, exclude)
    problems = _pairing_problems(kept["train"], annotations) + [problem for files in kept.values() for problem in _name_problems(files)]
    problems += [
        Problem("params.yaml: data.exclude", f"some image of {subset} to be left", "none", "exclude fewer")
        for subset, files in kept.items()
        if not files
    ]
    raise_if_any(problems, f"{root} cannot be used")
    train = [Sample("train", key, path, annotations[key]) for key, path in kept["train"].items()]
    return train + [Sample("test", key, path, None) for key, path in kept["test"].items()]


def truth_file(root: Path, key: str) -> Path:
    """Where the truth of the test image `key` lies, if it is known."""
    return root / "test_truth" / "outputs_json" / f"{key}.json"


def has_truth(root: Path) -> bool:
    """Whether the data set comes with the truth of its test images."""
    return (root / "test_truth" / "outputs_json").is_dir()


def read_people(root: Path) -> People:
    """The attributes in `root`/people.csv, spaces round names and values left out; none where there is no such file.

    Raises `UserError` where it is no CSV in UTF-8 or has no column `person`, and with every column without a name of its own, every row of
    another length, and every person that is named twice or not at all.
    """
    path = root / "people.csv"
    if not path.exists():
        return {}
    names, rows = _table(path)
    raise_if_any(_people_problems(path, names, rows), f"{path} cannot be used")
    people = [row[names.index("person")] for _, row in rows]
    columns = zip(*(row for _, row in rows), strict=True) if rows else [()] * len(names)
    return {name: dict(zip(people, values, strict=True)) for name, values in zip(names, columns, strict=True) if name != "person"}


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each further row with its line number; rows without any text are left out, as a spreadsheet adds them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a CSV in UTF-8; found {error}; save it again as CSV (UTF-8)") from error
    filled = [(line, row) for line, row in rows if any(row)]
    return (filled[0][1], filled[1:]) if filled else ([], [])


def _people_problems(path: Path, names: list[str], rows: list[tuple[int, list[str]]]) -> list[Problem]:
    if "person" not in names:
        found = ", ".join(names) or "nothing"
        return [
            Problem(f"{path}: the first row", "a column person", found, "name the column that holds the names of the folders below DCM")
        ]
    nameless = [Problem(f"{path}: column {at}", "a name", "none", "name it, or remove it") for at, name in enumerate(names, 1) if not name]
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    doubled = [Problem(f"{path}: the first row", f"one column {name}", f"{names.count(name)}", "rename all but one") for name in twice]
    cells = f"{len(names)} cells, as in the first row"
    ragged = [Problem(f"{path}: line {line}", cells, str(len(row)), "add or remove some") for line, row in rows if len(row) != len(names)]
    column = names.index("person")
    return nameless + doubled + ragged + _row_problems(path, [(line, row[column]) for line, row in rows if column < len(row)])


def _row_problems(path: Path, people: list[tuple[int, str]]) -> list[Problem]:
    lines: dict[str, list[int]] = {}
    for line, person in people:
        lines.setdefault(person, []).append(line)
    nobody = [Problem(f"{path}: line {line}", "a person", "none", "name one, or remove the line") for line in lines.pop("", [])]
    return nobody + [
        Problem(f"{path}: lines {', '.join(map(str, at))}", f"one row for {person}", str(len(at)), "keep one")
        for person, at in lines.items()
        if len(at) > 1
    ]


def _links(root: Path) -> list[Problem]:
    """Links to folders inside the data set: DVC does not look behind them, so changes there would rerun nothing."""
    folders = [Path(parent, name) for parent, names, _ in os.walk(root) for name in names]
    fix = "copy the folder, or set data.root to a data set without links inside, or to a link to one"
    return [Problem(str(path), "a folder", "a link, behind which DVC sees no change", fix) for path in sorted(folders) if path.is_symlink()]


def _files(folder: Path, suffix: str) -> dict[str, Path]:
    """The files below `folder` by key, sorted as paths in text; what is hidden by a dot is passed over."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.suffix.lower() == suffix}
    by_name = {name.as_posix(): path for name, path in found.items() if not any(part.startswith(".") for part in name.parts)}
    loose = [name for name in by_name if "/" not in name]
    if not by_name or loose:
        what = f"{loose[0]} outside any person's folder" if loose else f"no {suffix} file" if folder.is_dir() else "no such folder"
        fix = "put the data there, or set data.root to the folder that holds train/ and test/"
        raise UserError(f"{folder}: expected <person>/<image>{suffix} files; found {what}; {fix}")
    files = {name[: -len(suffix)]: by_name[name] for name in sorted(by_name)}
    lost = set(by_name.values()) - set(files.values())
    twins = [Problem(str(path), "one file of this name", "another whose suffix differs in case", "remove one") for path in sorted(lost)]
    raise_if_any(twins, f"{folder} cannot be used")
    return files


def _without(files: dict[str, Path], exclude: Sequence[str]) -> dict[str, Path]:
    return {key: path for key, path in files.items() if key not in exclude and key.split("/")[0] not in exclude}


def _check_exclude(exclude: Sequence[str], keys: Sequence[str]) -> None:
    known = sorted({*keys, *(key.split("/")[0] for key in keys)})
    unknown = [name for name in exclude if name not in known]
    problems = [Problem("params.yaml: data.exclude", "a person or sample of the data set", name, nearest(name, known)) for name in unknown]
    raise_if_any(problems, "data.exclude cannot be used")


def _pairing_problems(images: dict[str, Path], annotations: dict[str, Path]) -> list[Problem]:
    fix = "add it, or name the sample in data.exclude"
    bare = [path for key, path in images.items() if key not in annotations]
    lost = [path for key, path in annotations.items() if key not in images]
    return [Problem(str(path), "an annotation of the same name below outputs_json", "none", fix) for path in bare] + [
        Problem(str(path), "an image of the same name below DCM", "none", fix) for path in lost
    ]


def _name_problems(images: dict[str, Path]) -> list[Problem]:
    by_name: dict[str, list[str]] = {}
    for key, path in images.items():
        by_name.setdefault(path.name, []).append(key)
    expected = "an image name of its own (a submission names images without their folder)"
    return [
        Problem(str(images[keys[0]]), expected, f"the same name in {', '.join(keys[1:])}", "rename all but one")
        for keys in by_name.values()
        if len(keys) > 1
    ]
