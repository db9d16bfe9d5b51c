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
    known = [*images["train"], *annotations, *images["test"]]
    _check_exclude(exclude, known)
    kept = {subset: {key: path for key, path in found.items() if not _excluded(key, exclude)} for subset, found in images.items()}
    annotations = {key: path for key, path in annotations.items() if not _excluded(key, exclude)}
    problems = _pairing_problems(kept["train"], annotations) + [p for found in kept.values() for p in _name_problems(found)]
    raise_if_any(problems, f"{root} cannot be used")
    return [Sample(subset, key, path, annotations.get(key) if subset == "train" else None) for subset in SUBSETS for key, path in kept[subset].items()]


def truth_file(root: Path, key: str) -> Path:
    """Where the truth of the test image `key` lies, if it is known."""
    return root / "test_truth" / "outputs_json" / f"{key}.json"


def has_truth(root: Path) -> bool:
    """Whether the data set comes with the truth of its test images."""
    return (root / "test_truth" / "outputs_json").is_dir()


def _files(folder: Path, suffix: str) -> dict[str, Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() == suffix and not path.name.startswith("."))
    files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}
    loose = [path for key, path in files.items() if "/" not in key]
    if not files or loose:
        what = f"{loose[0].name} outside any person's folder" if loose else f"no {suffix} file" if folder.is_dir() else "no such folder"
        raise UserError(f"{folder}: expected <person>/<image>{suffix} files; found {what}; put the data there or set data.root to the folder that holds train/ and test/")
    return files


def _excluded(key: str, exclude: Sequence[str]) -> bool:
    return key in exclude or key.split("/")[0] in exclude


def _check_exclude(exclude: Sequence[str], keys: Sequence[str]) -> None:
    known = sorted({*keys, *(key.split("/")[0] for key in keys)})
    problems = [
        Problem("params.yaml: data.exclude", "a person or a sample of the data set", name, nearest(name, known) if len(known) else "remove it")
        for name in exclude
        if name not in known
    ]
    raise_if_any(problems, "data.exclude cannot be used")


def _pairing_problems(images: dict[str, Path], annotations: dict[str, Path]) -> list[Problem]:
    fix = "add it, or name the sample in data.exclude"
    lonely = [Problem(str(images[key]), "an annotation of the same name below outputs_json", "none", fix) for key in images if key not in annotations]
    return lonely + [Problem(str(annotations[key]), "an image of the same name below DCM", "none", fix) for key in annotations if key not in images]


def _name_problems(images: dict[str, Path]) -> list[Problem]:
    by_name: dict[str, list[str]] = {}
    for key, path in images.items():
        by_name.setdefault(path.name, []).append(key)
    return [
        Problem(str(images[keys[0]]), "an image name of its own (a submission names images without their folder)", f"it in {', '.join(keys)}", "rename all but one")
        for keys in by_name.values()
        if len(keys) > 1
    ]
