"""Folders of the competition -> samples.

<root>/train/DCM/<person>/<image>.png          <root>/train/outputs_json/<person>/<image>.json
<root>/test/DCM/<person>/<image>.png           <root>/test_truth/outputs_json/<person>/<image>.json  (where the truth is known)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handbone.errors import Problem, UserError, nearest, raise_if_any

SUBSETS = ("train", "test")


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

    Raises `UserError` with every missing folder, image without annotation, annotation without image, and image name used twice.
    """
    images = {subset: _files(root / subset / "DCM", ".png") for subset in SUBSETS}
    annotations = _files(root / "train" / "outputs_json", ".json")
    _check_exclude(exclude, [*images["train"], *annotations, *images["test"]])
    kept = {subset: _without(files, exclude) for subset, files in images.items()}
    annotations = _without(annotations, exclude)
    problems = _pairing_problems(kept["train"], annotations) + [problem for files in kept.values() for problem in _name_problems(files)]
    raise_if_any(problems, f"{root} cannot be used")
    train = [Sample("train", key, path, annotations[key]) for key, path in kept["train"].items()]
    return train + [Sample("test", key, path, None) for key, path in kept["test"].items()]


def truth_file(root: Path, key: str) -> Path:
    """Where the truth of the test image `key` lies, if it is known."""
    return root / "test_truth" / "outputs_json" / f"{key}.json"


def has_truth(root: Path) -> bool:
    """Whether the data set comes with the truth of its test images."""
    return (root / "test_truth" / "outputs_json").is_dir()


def _files(folder: Path, suffix: str) -> dict[str, Path]:
    """The files below `folder` by key, sorted as paths in text."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() == suffix and not path.name.startswith(".")]
    by_name = {path.relative_to(folder).as_posix(): path for path in found}
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
