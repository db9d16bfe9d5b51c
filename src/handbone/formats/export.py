"""The labels of a data set, or the masks of a submission, for other tools, where they are corrected and come back by `handbone import`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from handbone.config.params import SubmissionParams
from handbone.dataset.annotation import check_annotations, read_annotations
from handbone.dataset.layout import ANNOTATIONS, IMAGES, TRUTH
from handbone.dataset.listing import list_samples
from handbone.formats.coco import coco_document
from handbone.formats.images import picture_size
from handbone.formats.labelme import labelme_document
from handbone.formats.labels import Annotation, LabelledImage, mask
from handbone.formats.rle_csv import decode
from handbone.submission.csv import submission_table
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.io import new_folder, write_text
from handbone.utils.names import composed

LABELS = {"train": ANNOTATIONS, "test": TRUTH}


def data_set_labels(root: Path, subset: str) -> list[LabelledImage]:
    """The images of the subset `train` or `test` that have annotations, named `<person>/<image>.png`.

    Raises `UserError` with every fault of the folders and of the annotations.
    """
    images, labels = list_samples(root / IMAGES[subset], ".png", ()), list_samples(root / LABELS[subset], ".json", ())
    annotation_of = {composed(key): path for key, path in labels.files.items()}
    problems = [*images.problems, *labels.problems]
    read = []
    for key, picture in images.files.items():
        if (file := annotation_of.pop(composed(key), None)) is not None:
            size = picture_size(picture)
            annotations, faults = read_annotations(file)
            names = {one.get("label") for one in annotations if isinstance(one, dict)}
            classes = [name for name in names if isinstance(name, str)]
            problems += faults or check_annotations(str(file), annotations, classes, size, allow_missing=True).problems
            read.append(LabelledImage(f"{key}.png", str(file), picture, size, annotations))
    fix = "add the image, or remove the file"
    problems += [Problem("layout.pairing", str(file), "an image of the same name", "none", fix) for file in annotation_of.values()]
    raise_if_any(problems, f"{root} cannot be exported")
    return read


def submission_labels(path: Path, pictures: Path, form: SubmissionParams) -> list[LabelledImage]:
    """The masks of a submission, one image after the other, for the pictures below a folder <person>/<image>.png.

    Raises `UserError` with every row that cannot be used.
    """
    table = submission_table(path, form)
    by_name = {composed(file.name): (key, file) for key, file in list_samples(pictures, ".png", ()).files.items()}
    found: dict[str, list[Annotation]] = {}
    sizes, problems = dict[str, tuple[int, int]](), list[Problem]()
    columns = (table.column(name) for name in ("image_name", "class", "rle"))
    for row, (name, label, text) in enumerate(zip(*columns, strict=True)):
        if composed(name) not in by_name:
            fix = "name the folder of the test images with --images"
            problems.append(Problem("export.image", table.place(row), f"an image in {pictures}", name[:60], fix))
            continue
        key, file = by_name[composed(name)]
        if key not in sizes:
            sizes[key], found[key] = picture_size(file), []
        try:
            found[key] += [mask(label, decode(text, sizes[key], form.order == "column", 1, table.place(row)))] if text else []
        except UserError as error:
            problems += error.problems
    raise_if_any(problems, f"{path} cannot be exported")
    files = dict(by_name.values())
    return [LabelledImage(f"{key}.png", f"{path}: {key}", files[key], sizes[key], annotations) for key, annotations in found.items()]


def write_labels(out: Path, images: Sequence[LabelledImage], classes: Sequence[str], name: str) -> None:
    """Write the labels in a format: for coco the file `out`, for labelme a folder with `<person>/<image>.json`.

    Raises `UserError` if `out` exists: it may hold corrections.
    """
    if out.exists():
        raise UserError(Problem("export.target", str(out), "a path that does not exist yet", "a file or folder", "give another name"))
    if name == "coco":
        write_text(out, json.dumps(coco_document(images, classes)))
        return
    with new_folder(out) as folder:
        for image in images:
            file = Path(image.name).with_suffix(".json")
            write_text(folder / file, json.dumps(labelme_document(image, (out / file).parent)))


def class_order(images: Sequence[LabelledImage], known: Sequence[str]) -> list[str]:
    """`known`, if it has all labels of the images; else their labels, sorted."""
    found = {annotation["label"] for image in images for annotation in image.annotations}
    return list(known) if found <= set(known) else sorted(found)
