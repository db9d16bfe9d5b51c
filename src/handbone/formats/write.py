"""Labels of any format -> a data set in the project's layout, which appears only when it is complete."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import cv2

from handbone.dataset.annotation import check_annotations
from handbone.dataset.files import is_text
from handbone.dataset.layout import ANNOTATIONS, IMAGES, TRUTH
from handbone.dataset.listing import is_ignored
from handbone.formats.images import Window, read_picture
from handbone.formats.labelme import embedded_picture
from handbone.formats.labels import Annotation, LabelledImage
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.io import new_folder, write_bytes, write_text
from handbone.utils.names import composed
from handbone.utils.parallel import prefetch_map

FOLDERS = {"train": ANNOTATIONS, "test": TRUTH}


@dataclass(frozen=True)
class WriteOptions:
    """classes: which labels are kept. person: image -> person. whole_names: an image is named after its whole path, not only its file.

    window: for pictures of more than 8 bits.
    """

    classes: Sequence[str]
    person: Callable[[LabelledImage], str]
    whole_names: bool = False
    window: Window | None = None


@dataclass(frozen=True)
class Written:
    """What was written of one subset. incomplete: images that lack a class; left_out: annotations by label that is no class."""

    images: int
    people: int
    polygons: int
    masks: int
    incomplete: int
    left_out: Counter[str]


@dataclass(frozen=True)
class _Task:
    subset: str
    key: str
    image: LabelledImage
    labelled: bool


def write_data_set(
    root: Path, train: Sequence[LabelledImage], test: Sequence[LabelledImage], truth: bool, options: WriteOptions
) -> list[Written]:
    """Write the images and annotations of both subsets; truth: the test images have annotations too. -> what was written of each.

    Raises one `UserError` with every name, picture and annotation that cannot be used; then there is no folder `root`.
    """
    if root.exists():
        raise UserError(Problem("import.target", str(root), "a folder that does not exist yet", "a file or folder", "give another name"))
    subsets = [("train", train, True), ("test", test, truth)]
    tasks, problems = [], list[Problem]()
    for subset, images, labelled in subsets:
        found, faults = _tasks(subset, images, labelled, options)
        tasks += found
        problems += faults
    with new_folder(root) as folder:
        faults_of = prefetch_map(lambda task: _write(folder, task, options), tasks)
        problems += [problem for faults in faults_of for problem in faults]
        raise_if_any(problems, "nothing is imported")
    return [_written(images, [task for task in tasks if task.subset == subset], options) for subset, images, _ in subsets]


def _tasks(subset: str, images: Sequence[LabelledImage], labelled: bool, options: WriteOptions) -> tuple[list[_Task], list[Problem]]:
    """The key of each image, and the problems of those that have no usable one."""
    tasks, problems, first = list[_Task](), list[Problem](), dict[str, LabelledImage]()
    for image in images:
        path = PurePosixPath(image.name).with_suffix("")
        name = "_".join(part for part in path.parts if part != "/") if options.whole_names else path.name
        try:
            person = options.person(image)
        except UserError as error:
            problems += error.problems
            continue
        other = first.setdefault(composed(name), image)
        if other is not image:
            fix = "rename one, or name images after their whole path with --names path"
            problems.append(Problem("import.name", image.place, f"one image {name} in {subset}", f"another: {other.name}", fix))
        bad = [part for part in (person, name) if not _is_name(part)]
        problems += [Problem("import.name", image.place, "a name for a file", repr(part[:60]), "rename it") for part in bad]
        # an image without a name of its own is written too, to find its other faults, to a place that is no other's
        key = f".unnamed/{len(tasks)}" if bad or other is not image else f"{person}/{name}"
        tasks.append(_Task(subset, key, replace(image, annotations=_kept(image.annotations, options)), labelled))
    return tasks, problems


def _is_name(name: str) -> bool:
    return (
        is_text(name) and bool(name) and "/" not in name and name not in (".", "..") and not is_ignored(name) and len(name.encode()) < 200
    )


def _kept(annotations: Sequence[Annotation], options: WriteOptions) -> list[Annotation]:
    return [annotation for annotation in annotations if annotation["label"] in options.classes]


def _write(root: Path, task: _Task, options: WriteOptions) -> list[Problem]:
    """Write one image and its annotations -> its problems, and then nothing is written."""
    image = task.image
    try:
        pixels = read_picture(image.picture, embedded_picture(image.picture) if image.embedded else None, options.window)
    except UserError as error:
        return list(error.problems)
    shape = (pixels.shape[0], pixels.shape[1])
    problems = [] if image.size in (None, shape) else [_size_problem(image, shape)]
    if not problems and task.labelled:
        problems += check_annotations(image.place, image.annotations, options.classes, shape, allow_missing=True).problems
    if problems:
        return problems
    ok, png = cv2.imencode(".png", pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if not ok:
        raise RuntimeError(f"{image.picture}: OpenCV could not encode the image")
    write_bytes(root / IMAGES[task.subset] / f"{task.key}.png", png.tobytes())
    if task.labelled:
        document = {"annotations": image.annotations, "filename": image.name, "metadata": {"height": shape[0], "width": shape[1]}}
        write_text(root / FOLDERS[task.subset] / f"{task.key}.json", json.dumps(document))
    return []


def _size_problem(image: LabelledImage, shape: tuple[int, int]) -> Problem:
    height, width = image.size or shape
    found = f"{shape[1]}x{shape[0]}"
    if (width, height) == shape:
        found += " after the EXIF orientation is applied, so the tool did not apply it"
    fix = "use the picture that was annotated, at the size at which it was annotated"
    return Problem("import.size", image.place, f"a picture of {width}x{height} pixels, as its annotations say", found, fix)


def _written(images: Sequence[LabelledImage], tasks: Sequence[_Task], options: WriteOptions) -> Written:
    labels = [annotation["label"] for image in images for annotation in image.annotations]
    annotations = [annotation for task in tasks for annotation in task.image.annotations]
    masks = sum("points" not in annotation for annotation in annotations)
    lacking = [task for task in tasks if {annotation["label"] for annotation in task.image.annotations} < set(options.classes)]
    people = {task.key.split("/")[0] for task in tasks}
    left_out = Counter(label for label in labels if label not in options.classes)
    return Written(len(tasks), len(people), len(annotations) - masks, masks, len(lacking), left_out)
