"""Whether the labels of a data set are those that params.yaml names, before any image is read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from handbone.dataset.annotation import read_annotations
from handbone.dataset.layout import Sample
from handbone.utils.errors import Problem, UserError
from handbone.utils.names import composed

MAX_LABELS = 500  # of a data set: more are no classes, but numbers of objects or the like


def require_known_label(samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Do nothing if any annotation has a label that is one of `classes`; of a data set that fits, this reads one file.

    Otherwise they are the classes of another data set: raises one `UserError` with all labels as a list for params.yaml, instead of a fault
    of each polygon. Files that cannot be read are left to `read_polygons`.
    """
    known, found = {composed(name) for name in classes}, set[str]()
    for label in _labels(sample.annotation for sample in samples if sample.annotation is not None):
        if label in known or len(found) == MAX_LABELS:
            return
        found.add(label)
    if found:
        listed = json.dumps(sorted(found, key=_natural), ensure_ascii=False)
        fix = f"write the labels there, in the order of the submission: {listed}"
        other = f"{len(known)} classes, of which no annotation has one, and {len(found)} other labels in the annotations"
        raise UserError(Problem("annotation.labels", "params.yaml: data.classes", "the labels of the data set", other, fix))


def _labels(files: Iterable[Path]) -> Iterator[str]:
    """The label of each annotation in composed form."""
    for file in files:
        for annotation in read_annotations(file)[0]:
            if isinstance(annotation, dict) and isinstance(annotation.get("label"), str):
                yield composed(annotation["label"])


def _natural(name: str) -> list[str | int]:
    """Sorts finger-2 before finger-10. Texts and numbers take turns, so one is never compared with the other."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"([0-9]+)", name))]
