"""Samples in the folders of the competition.

<root>/train/DCM/<person>/<image>.png          <root>/train/outputs_json/<person>/<image>.json
<root>/test/DCM/<person>/<image>.png           <root>/test_truth/outputs_json/<person>/<image>.json  (if the truth is known)
<root>/train/people.csv                        (optional; see people.py)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from handbone.utils.errors import Problem, nearest, raise_if_any

IMAGES = {"train": Path("train/DCM"), "test": Path("test/DCM")}
ANNOTATIONS = Path("train/outputs_json")
TRUTH = Path("test_truth/outputs_json")
_Files = Mapping[str, Path]
"""Key -> file."""


@dataclass(frozen=True)
class Sample:
    """One image of the subset `train` or `test`.

    key: the image's path below DCM without suffix, e.g. `ID001/image1661130828152_R`. annotation: None for test images.
    """

    subset: str
    key: str
    image: Path
    annotation: Path | None

    @property
    def person(self) -> str:
        """The folder of the image, which holds all images of one person."""
        return _person(self.key)


def find_samples(root: Path, exclude: Sequence[str]) -> list[Sample]:
    """Every sample below `root` except the excluded keys and people, train before test, sorted by key.

    Raises `UserError` with every linked folder; with every folder that is missing, is empty or has files outside people's folders; with
    every unknown name in `exclude`, every image without annotation, every annotation without image, every image name that is used
    twice in a subset, and every subset without any image.
    """
    title = f"{root} cannot be used"
    raise_if_any(_link_problems(root), title)
    folders = {root / folder: ".png" for folder in IMAGES.values()} | {root / ANNOTATIONS: ".json"}
    raise_if_any([problem for folder, suffix in folders.items() for problem in _folder_problems(folder, suffix)], title)
    images = {subset: _files(root / folder, ".png") for subset, folder in IMAGES.items()}
    annotations = _files(root / ANNOTATIONS, ".json")
    kept = {subset: _without(files, exclude) for subset, files in images.items()}
    kept_annotations = _without(annotations, exclude)
    problems = _exclude_problems(exclude, [*images["train"], *annotations, *images["test"]], kept)
    problems += _pairing_problems(kept["train"], kept_annotations)
    problems += [problem for files in kept.values() for problem in _name_problems(files)]
    raise_if_any(problems, title)
    train = [Sample("train", key, path, kept_annotations[key]) for key, path in kept["train"].items()]
    return train + [Sample("test", key, path, None) for key, path in kept["test"].items()]


def truth_file(root: Path, key: str) -> Path:
    """The annotation of the test image `key`, which exists only if the truth is known."""
    return root / TRUTH / f"{key}.json"


def has_truth(root: Path) -> bool:
    """Whether the data set has a folder with the truth of its test images."""
    return (root / TRUTH).is_dir()


def _person(key: str) -> str:
    return key.split("/")[0]


def _link_problems(root: Path) -> list[Problem]:
    """Links to folders inside the data set: DVC does not follow them, so a change behind one would rerun nothing."""
    folders = [Path(parent, name) for parent, names, _ in os.walk(root) for name in names]
    fix = "copy the folder, or set data.root to a data set without links inside, or to a link to one"
    found = "a link, behind which DVC sees no change"
    return [Problem("layout.link", str(path), "a folder", found, fix) for path in sorted(folders) if path.is_symlink()]


def _visible(folder: Path, suffix: str) -> list[str]:
    """Paths below `folder` of the files with this suffix in any letter case, sorted as text.

    Hidden files and files in hidden folders are left out, among them the `._image.png` that macOS writes beside an image.
    """
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() == suffix]
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


def _folder_problems(folder: Path, suffix: str) -> list[Problem]:
    expected = f"<person>/<image>{suffix} files"
    fix = "put the data there, or set data.root to the folder that holds train/ and test/"
    names = _visible(folder, suffix)
    if not names:
        found = f"no {suffix} file" if folder.is_dir() else "no such folder"
        return [Problem("layout.missing", str(folder), expected, found, fix)]
    outside = [
        Problem("layout.person", str(folder / name), expected, "a file outside people's folders", fix) for name in names if "/" not in name
    ]
    stems: dict[str, str] = {}
    repeated = [name for name in names if stems.setdefault(name[: -len(suffix)], name) != name]
    found = "another whose suffix differs only in letter case"
    return outside + [Problem("layout.suffix", str(folder / name), "one file of this name", found, "remove one") for name in repeated]


def _files(folder: Path, suffix: str) -> _Files:
    return {name[: -len(suffix)]: folder / name for name in _visible(folder, suffix)}


def _without(files: _Files, exclude: Sequence[str]) -> _Files:
    return {key: path for key, path in files.items() if key not in exclude and _person(key) not in exclude}


def _exclude_problems(exclude: Sequence[str], keys: Sequence[str], kept: Mapping[str, _Files]) -> list[Problem]:
    place = "params.yaml: data.exclude"
    known = sorted({*keys, *map(_person, keys)})
    unknown = [name for name in exclude if name not in known]
    empty = [subset for subset, files in kept.items() if not files]
    return [Problem("exclude.unknown", place, "a person or sample of the data set", name, nearest(name, known)) for name in unknown] + [
        Problem("exclude.all", place, f"at least one image of {subset} that is not excluded", "none", "exclude fewer") for subset in empty
    ]


def _pairing_problems(images: _Files, annotations: _Files) -> list[Problem]:
    fix = "add it, or name the sample in data.exclude"
    bare = [path for key, path in images.items() if key not in annotations]
    lost = [path for key, path in annotations.items() if key not in images]
    return [Problem("layout.pairing", str(path), "an annotation of the same name below outputs_json", "none", fix) for path in bare] + [
        Problem("layout.pairing", str(path), "an image of the same name below DCM", "none", fix) for path in lost
    ]


def _name_problems(images: _Files) -> list[Problem]:
    by_name: dict[str, list[str]] = {}
    for key, path in images.items():
        by_name.setdefault(path.name, []).append(key)
    expected = "a name that no other image of the subset has, because a submission names images without their folder"
    return [
        Problem("layout.image_name", str(images[keys[0]]), expected, f"the same name in {', '.join(keys[1:])}", "rename all except one")
        for keys in by_name.values()
        if len(keys) > 1
    ]
