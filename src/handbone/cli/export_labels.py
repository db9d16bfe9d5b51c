"""`handbone export-labels --format coco|labelme SOURCE -o OUT`: labels for the tools in which they are corrected."""

from __future__ import annotations

from pathlib import Path

from handbone.config.params import load_params
from handbone.dataset.layout import IMAGES
from handbone.formats.export import class_order, data_set_labels, submission_labels, write_labels


def export_labels(source: Path, out: Path, name: str, subset: str, pictures: Path | None) -> None:
    """Write the labels of a data set's subset, or of a submission CSV for the images in `pictures` (None: those of data.root).

    Raises `UserError` with every fault of the source; then nothing is written.
    """
    params = load_params()
    data = params.data
    pictures = pictures or Path(data.root) / IMAGES["test"]
    images = data_set_labels(source, subset) if source.is_dir() else submission_labels(source, pictures, params.submission)
    write_labels(out, images, class_order(images, data.classes), name)
    print(f"{out}: the labels of {len(images)} images")
