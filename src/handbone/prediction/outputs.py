"""Predicted masks as files, in one or more formats."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from handbone.cache.resize import UInt8Image
from handbone.config.params import SubmissionParams
from handbone.masks.runs import RunLengthMasks
from handbone.prediction.annotations import coco_annotations, json_annotations
from handbone.prediction.overlay import overlay
from handbone.prediction.pictures import Picture
from handbone.submission.csv import encode_masks, image_rows, write_submission
from handbone.utils.errors import Problem, UserError
from handbone.utils.io import write_bytes, write_json, write_text
from handbone.utils.parallel import prefetch_map

CSV, COCO = "csv", "coco"  # one file for all images
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Predicted:
    """The C masks of a picture; preview: the picture at the size of an overlay."""

    picture: Picture
    preview: UInt8Image
    masks: RunLengthMasks


def _write_json(folder: Path, image: Predicted, classes: Sequence[str]) -> None:
    """The project's annotations: polygons, and masks where a piece is a line."""
    height, width = image.masks.shape
    annotations = json_annotations(image.masks, classes)
    document = {"annotations": annotations, "filename": image.picture.name, "metadata": {"height": height, "width": width}}
    write_text(folder / f"{image.picture.output}.json", json.dumps(document))


def _write_png(folder: Path, image: Predicted, classes: Sequence[str]) -> None:
    """A picture per class at full resolution, 255 inside."""
    for label, mask in zip(classes, image.masks.one_by_one(), strict=True):
        plane = mask.boxed().dense()[0].view(np.uint8)
        plane *= 255
        write_bytes(folder / image.picture.output / f"{label}.png", _encoded(".png", plane))


def _write_overlay(folder: Path, image: Predicted, classes: Sequence[str]) -> None:
    drawn = cv2.cvtColor(overlay(image.preview, image.masks, classes), cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    write_bytes(folder / f"{image.picture.output}.jpg", _encoded(".jpg", np.asarray(drawn, np.uint8), quality))


WRITERS: dict[str, Callable[[Path, Predicted, Sequence[str]], None]] = {
    "json": _write_json,
    "png": _write_png,
    "overlay": _write_overlay,
}
"""The formats with files for each image, below a folder of the format's name."""
KINDS = (*WRITERS, COCO, CSV)


def check_class_names(classes: Sequence[str], purpose: str = "--as png") -> None:
    """Raise `UserError` with each class whose name cannot name a PNG, which `purpose` writes."""
    bad = [name for name in classes if "/" in name or "\0" in name or name.startswith(".") or len(name.encode()) > 200]
    fix = "use another format, or rename the class"
    if bad:
        raise UserError(*(Problem("predict.class_name", purpose, "classes that can name a file", ascii(name), fix) for name in bad))


def write_outputs(
    folder: Path,
    images: Iterable[Predicted],
    pictures: Sequence[Picture],
    kinds: Sequence[str],
    classes: Sequence[str],
    form: SubmissionParams,
) -> None:
    """Write the files of all images in these formats into `folder`. pictures: all that `images` may have; form: of the CSV.

    Images are encoded in threads, and a few are in memory at a time; of COCO's one document all masks are, as compressed text.
    """

    def write(image: Predicted) -> tuple[Predicted, list[dict[str, Any]]]:
        """Write the files that one image has for itself -> the image, with its annotations for COCO's document if that is wanted."""
        for kind in kinds:
            if kind in WRITERS:
                WRITERS[kind](folder / kind, image, classes)
        return image, coco_annotations(image.masks) if COCO in kinds else []

    coco: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    coco["categories"] = [{"id": number, "name": label} for number, label in enumerate(classes, start=1)]
    written = _collected(prefetch_map(write, images), coco)
    if CSV in kinds:
        names = image_names(pictures)
        encoded = ((names[image.picture], encode_masks(image.masks, form)) for image in written)
        write_submission(folder / "predictions.csv", (row for name, texts in encoded for row in image_rows(name, classes, texts)), form)
    else:
        for _ in written:
            pass
    if COCO in kinds:
        write_json(folder / "coco.json", coco)


def image_names(pictures: Sequence[Picture]) -> dict[Picture, str]:
    """The name of each picture in the CSV: that of its file, or its path where files have the same name."""
    names = {picture: PurePosixPath(picture.name).name for picture in pictures}
    counts = Counter(names.values())
    return {picture: name if counts[name] == 1 else picture.name for picture, name in names.items()}


def _collected(written: Iterable[tuple[Predicted, list[dict[str, Any]]]], coco: dict[str, Any]) -> Iterator[Predicted]:
    """Pass the images on, and add them with their annotations to COCO's document."""
    for number, (image, entries) in enumerate(written, start=1):
        height, width = image.masks.shape
        coco["images"].append({"id": number, "file_name": image.picture.name, "height": height, "width": width})
        first = len(coco["annotations"]) + 1
        coco["annotations"] += [{"id": first + index, "image_id": number} | entry for index, entry in enumerate(entries)]
        yield image


def _encoded(suffix: str, picture: UInt8Image, settings: Sequence[int] = ()) -> bytes:
    ok, data = cv2.imencode(suffix, picture, settings)
    if not ok:
        raise RuntimeError(f"OpenCV could not encode a picture of {picture.shape} as {suffix}")
    return data.tobytes()
