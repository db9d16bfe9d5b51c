"""What the examination needs of each sample: its polygons, and a small picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from handbone.dataset.annotation import read_polygons
from handbone.dataset.layout import Sample
from handbone.dataset.preprocess import read_image
from handbone.doctor.labels.drawing import Drawing
from handbone.doctor.labels.duplicates import Thumbnail, thumbnail
from handbone.utils.errors import Problem, UserError
from handbone.utils.parallel import map_samples


@dataclass(frozen=True)
class Scan:
    """One sample. thumbnail: None if the image cannot be read; drawing: None if the annotation cannot, and for test images."""

    sample: Sample
    thumbnail: Thumbnail | None
    drawing: Drawing | None
    problems: Sequence[Problem]


def read_scans(samples: Sequence[Sample], classes: Sequence[str], max_pixels: int, workers: int | None) -> list[Scan]:
    """Read every sample in `workers` processes; missing classes are no fault here."""
    return map_samples(partial(_scan, classes=classes, max_pixels=max_pixels), samples, workers, "examine")


def _scan(sample: Sample, classes: Sequence[str], max_pixels: int) -> Scan:
    small, shape, drawing, problems = None, None, None, list[Problem]()
    try:
        image = read_image(sample.image, 1, max_pixels)
        small, shape = thumbnail(image), (image.shape[0], image.shape[1])
    except UserError as error:
        problems += error.problems
    if sample.annotation is not None:
        polygons, faults = read_polygons(sample.annotation, classes, shape, allow_missing=True)
        problems += faults
        if shape is not None and not faults:
            drawing = Drawing(sample.key, shape, polygons)
    return Scan(sample, small, drawing, problems)
