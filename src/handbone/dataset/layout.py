"""Samples in the folders of the competition.

<root>/train/DCM/<person>/<image>.png          <root>/train/outputs_json/<person>/<image>.json
<root>/test/DCM/<person>/<image>.png           <root>/test_truth/outputs_json/<person>/<image>.json  (if the truth is known)
<root>/train/people.csv                        (optional; see people.py)

The test set is optional: without one, the held-out people give the only scores.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from handbone.dataset.files import printable
from handbone.dataset.listing import Listing, is_ignored, list_samples, unknown_entries
from handbone.utils.errors import Problem, nearest, raise_if_any
from handbone.utils.names import composed

IMAGES = {"train": Path("train/DCM"), "test": Path("test/DCM")}
ANNOTATIONS = Path("train/outputs_json")
TRUTH = Path("test_truth/outputs_json")
KNOWN = {"train": ("DCM", "outputs_json", "people.csv"), "test": ("DCM",)}
"""What may be in these folders."""
Files = Mapping[str, Path]
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

    Raises one `UserError` with every fault of the folders: links to folders, missing and empty folders, every file that no stage would
    read, names that no table can hold; every unknown name in `exclude`, every image without annotation, every annotation without
    image, every image name that is used twice in a subset, and a training set without any image.
    """
    raise_if_any(_elsewhere(root), f"{root} cannot be used")
    excluded = {composed(name) for name in exclude}
    images = {subset: list_samples(root / folder, ".png", excluded, optional=subset == "test") for subset, folder in IMAGES.items()}
    annotations = list_samples(root / ANNOTATIONS, ".json", excluded)
    problems = _folder_problems(root, [*images.values(), annotations])
    problems += _empty_problems(images["train"], annotations) + list(images["test"].empty.values())
    problems += _exclude_problems(exclude, [*images.values(), annotations], images)
    # images and annotations are found anywhere or nowhere: without one of the folders every file would be called unpaired
    if images["train"].files and annotations.files:
        problems += _pairing_problems(images["train"].files, annotations.files)
    problems += [problem for listing in images.values() for problem in _name_problems(listing.files)]
    problems += _truth_problems(root, images["test"].names)
    raise_if_any(problems, f"{root} cannot be used")
    annotation_of = {composed(key): path for key, path in annotations.files.items()}
    train = [Sample("train", key, path, annotation_of[composed(key)]) for key, path in images["train"].files.items()]
    return train + [Sample("test", key, path, None) for key, path in images["test"].files.items()]


def truth_file(root: Path, key: str) -> Path:
    """The annotation of the test image `key`, which exists only if the truth is known."""
    path = root / TRUTH / f"{key}.json"
    if path.exists():
        return path
    truth = list_samples(root / TRUTH, ".json", ()).files if (root / TRUTH).is_dir() else {}
    return {composed(name): file for name, file in truth.items()}.get(composed(key), path)


def has_truth(root: Path) -> bool:
    """Whether the data set has a folder with the truth of its test images.

    Raises `UserError` with every file there that belongs to no test image.
    """
    if not (root / TRUTH).is_dir():
        return False
    raise_if_any(_truth_problems(root, list_samples(root / IMAGES["test"], ".png", ()).names), f"the truth in {root} cannot be used")
    return True


def _elsewhere(root: Path) -> list[Problem]:
    """The fault that the data set is in a folder of `root`, where many archives have it when they are unpacked."""
    found = [] if (root / "train").exists() else sorted(path.parents[1] for path in root.glob(f"*/{IMAGES['train']}"))
    fix = f"set data.root to {' or '.join(map(printable, found))}"
    return [Problem("layout.root", printable(root), "the folders train (and test)", "them in a folder of it", fix)] if found else []


def _person(key: str) -> str:
    return key.split("/")[0]


def _folder_problems(root: Path, listings: Sequence[Listing]) -> list[Problem]:
    """Links, then what is beside the folders of the layout, then the faults inside them."""
    unknown = [problem for folder, known in KNOWN.items() for problem in unknown_entries(root / folder, known)]
    return _link_problems(root) + unknown + [problem for listing in listings for problem in listing.problems]


def _empty_problems(images: Listing, annotations: Listing) -> list[Problem]:
    """Empty folders of the training set, except where the files of the same person are called unpaired."""
    return [
        problem
        for listing, other in ((images, annotations), (annotations, images))
        for person, problem in listing.empty.items()
        if person not in other.people
    ]


def _link_problems(root: Path) -> list[Problem]:
    """Links to folders inside the data set: DVC does not follow them, so a change behind one would rerun nothing."""
    folders = [Path(parent, name) for parent, names, _ in os.walk(root) for name in names if not is_ignored(name)]
    fix = "copy the folder, or set data.root to a data set without links inside, or to a link to one"
    found = "a link, behind which DVC sees no change"
    return [Problem("layout.link", printable(path), "a folder", found, fix) for path in sorted(folders) if path.is_symlink()]


def _exclude_problems(exclude: Sequence[str], listings: Sequence[Listing], images: Mapping[str, Listing]) -> list[Problem]:
    place = "params.yaml: data.exclude"
    known = sorted({composed(name) for listing in listings for name in listing.names})
    unknown = [name for name in exclude if composed(name) not in known]
    empty = [subset for subset, listing in images.items() if listing.names and not (listing.files or listing.problems or listing.empty)]
    return [Problem("exclude.unknown", place, "a person or sample of the data set", name, nearest(name, known)) for name in unknown] + [
        Problem("exclude.all", place, f"at least one image of {subset} that is not excluded", "none", "exclude fewer") for subset in empty
    ]


def _pairing_problems(images: Files, annotations: Files) -> list[Problem]:
    fix = "add it, or name the sample in data.exclude"
    kinds = [
        (images, annotations, "an annotation of the same name below outputs_json"),
        (annotations, images, "an image of the same name below DCM"),
    ]
    return [
        Problem("layout.pairing", printable(path), expected, "none", fix)
        for files, others, expected in kinds
        for path in _unpaired(files, others)
    ]


def _unpaired(files: Files, keys: Collection[str]) -> list[Path]:
    """The files whose key is not among `keys`."""
    known = {composed(key) for key in keys}
    return [path for key, path in files.items() if composed(key) not in known]


def _name_problems(images: Files) -> list[Problem]:
    by_name: dict[str, list[str]] = {}
    for key, path in images.items():
        by_name.setdefault(composed(path.name), []).append(key)
    expected = "a name that no other image of the subset has, because a submission names images without their folder"
    return [
        Problem(
            "layout.image_name", printable(images[keys[0]]), expected, f"the same name in {', '.join(keys[1:])}", "rename all except one"
        )
        for keys in by_name.values()
        if len(keys) > 1
    ]


def _truth_problems(root: Path, test_names: Collection[str]) -> list[Problem]:
    """Files of the truth that belong to no test image; an excluded image may have a truth."""
    problems = unknown_entries(root / TRUTH.parent, (TRUTH.name,))
    if not (root / TRUTH).is_dir():
        return problems
    truth = list_samples(root / TRUTH, ".json", ())
    expected, fix = "an image of the same name below test/DCM", "add the image, or remove the file"
    problems += [*truth.problems, *truth.empty.values()]
    return problems + [Problem("layout.truth", printable(path), expected, "none", fix) for path in _unpaired(truth.files, test_names)]
