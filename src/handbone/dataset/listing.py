"""The files of one folder of the competition, <folder>/<person>/<name><suffix>; whatever else is in it is listed as a fault."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from handbone.dataset.files import is_text, printable
from handbone.utils.errors import Problem
from handbone.utils.names import composed

IGNORED = (".*", "*~", "#*#", "Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir", "*.dvc", "*.partial")  # of editors, systems and DVC
FIX = "convert an image to PNG, move anything else out of the data set, or name the sample in data.exclude"
PERSON = "move it into a folder of its person, or into one of its own if nobody knows the person"
PLACE = "put the data there, or set data.root to the folder that holds train/ (and test/); dvc repro makes data/phantom"


@dataclass
class Listing:
    """files: key -> file, without the excluded ones, sorted by path; names: all people and keys, the excluded ones too.

    empty: person -> the fault that the folder is empty; the other faults are in problems.
    """

    files: dict[str, Path] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    empty: dict[str, Problem] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def people(self) -> set[str]:
        """Everybody who has a file, in composed form."""
        return {composed(key.split("/")[0]) for key in self.files}


def entries(folder: Path, problems: list[Problem]) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted by name, without the files of editors and systems; a folder that cannot be read is a fault."""
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not is_ignored(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        found_text = error.strerror or type(error).__name__
        problems.append(Problem("layout.read", printable(folder), "a folder that can be read", found_text, "allow reading it"))
        return []


def is_ignored(name: str) -> bool:
    """Whether a name is hidden, or an editor's, a system's or DVC's."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in IGNORED)


def list_samples(folder: Path, suffix: str, exclude: Collection[str], optional: bool = False) -> Listing:
    """The <person>/<name><suffix> files below `folder`, the suffix in any letter case, and every fault of the folder.

    Links to folders are left to the caller. exclude: people and keys in composed form, whose faults do not count.
    optional: the folder may be missing or empty.
    """
    listing = Listing()
    expected = f"<person>/<image>{suffix} files"
    if optional and not os.path.lexists(folder) and not folder.parent.is_symlink():  # a link to nowhere is meant to be something
        return listing
    if not folder.is_dir():
        listing.problems.append(Problem("layout.missing", printable(folder), expected, "no such folder", PLACE))
        return listing
    for entry in entries(folder, listing.problems):
        if entry.is_dir():
            _add_person(listing, Path(entry.path), suffix, exclude)
        elif composed(_stem(entry.name, suffix)) in exclude:
            listing.names.add(_stem(entry.name, suffix))
        elif entry.name.lower().endswith(suffix):
            found = "a file outside people's folders"
            listing.problems.append(Problem("layout.person", printable(Path(entry.path)), expected, found, PERSON))
        else:
            listing.problems.append(_unknown(entry, expected))
    listing.problems += _same_names(folder, {key.split("/")[0] for key in listing.names})
    if not (listing.files or listing.problems or listing.names or optional):
        listing.problems.append(Problem("layout.missing", printable(folder), expected, f"no {suffix} file", PLACE))
    listing.files = dict(sorted(listing.files.items(), key=lambda item: item[1].relative_to(folder).as_posix()))
    return listing


def unknown_entries(folder: Path, known: Sequence[str]) -> list[Problem]:
    """Everything in an existing folder whose name is not among the known ones."""
    problems: list[Problem] = []
    found = entries(folder, problems) if folder.is_dir() else []
    return problems + [_unknown(entry, f"only {', '.join(known)} here") for entry in found if entry.name not in known]


def _add_person(listing: Listing, folder: Path, suffix: str, exclude: Collection[str]) -> None:
    """Add one person's files and faults."""
    listing.names.add(folder.name)
    if folder.is_symlink():
        return
    excluded = composed(folder.name) in exclude
    faults: list[Problem] = []
    found = entries(folder, faults)
    if not found and not faults and not excluded:
        fix = "remove the folder, add the files, or name the person in data.exclude"
        listing.empty[composed(folder.name)] = Problem("layout.empty", printable(folder), f"<image>{suffix} files", "an empty folder", fix)
    stems: dict[str, str] = {}
    for entry in found:
        stem = _stem(entry.name, suffix)
        key = f"{folder.name}/{stem}"
        listing.names.add(key)
        if excluded or composed(key) in exclude:
            continue
        problems = list(_file_problems(entry, suffix, stems.setdefault(composed(stem + entry.name[len(stem) :].lower()), entry.name)))
        faults += problems
        if not problems:
            listing.files[key] = folder / entry.name
    listing.problems += [] if excluded else _name_problems(folder) + faults


def _file_problems(entry: os.DirEntry[str], suffix: str, first: str) -> Iterator[Problem]:
    """The faults of one entry of a person's folder; first: the first entry of the same name apart from suffix and composition."""
    path = Path(entry.path)
    if entry.is_symlink() and entry.is_dir():
        return
    if entry.is_dir():
        yield Problem("layout.depth", printable(path), f"<person>/<image>{suffix} files", "a folder inside a person's folder", FIX)
    elif not entry.name.lower().endswith(suffix):
        yield _unknown(entry, f"only <image>{suffix} files in a person's folder")
    else:
        yield from _name_problems(path)
        if first != entry.name:
            found = "another that differs only in the suffix's letter case or in Unicode composition"
            yield Problem("layout.suffix", printable(path), "one file of this name", found, "remove one")


def _name_problems(path: Path) -> list[Problem]:
    found = "bytes that are no UTF-8, or control characters"
    problem = Problem("layout.name", printable(path), "a name in UTF-8 without control characters", found, "rename it")
    return [] if is_text(path.name) else [problem]


def _same_names(folder: Path, people: Collection[str]) -> list[Problem]:
    """People whose folders' names look the same: their images would count as those of two people."""
    first: dict[str, str] = {}
    repeated = [name for name in sorted(people) if first.setdefault(composed(name), name) != name]
    found = "another whose name differs only in Unicode composition"
    return [Problem("layout.person_twice", printable(folder / name), "one folder per person", found, "join the two") for name in repeated]


def _unknown(entry: os.DirEntry[str], expected: str) -> Problem:
    found = "a folder that no stage reads" if entry.is_dir() else "a file that no stage reads"
    return Problem("layout.unknown", printable(Path(entry.path)), expected, found, FIX)


def _stem(name: str, suffix: str) -> str:
    return name[: -len(suffix)] if name.lower().endswith(suffix) else os.path.splitext(name)[0]
