"""The formats that can be imported, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from handbone.formats.coco import read_coco
from handbone.formats.cvat import read_cvat
from handbone.formats.label_png import read_label_png
from handbone.formats.labelme import read_labelme
from handbone.formats.labels import Labels, ReadOptions
from handbone.formats.rle_csv import read_rle_csv

Reader = Callable[[Path, ReadOptions], Labels]
READERS: dict[str, Reader] = {
    "coco": read_coco,
    "labelme": read_labelme,
    "cvat": read_cvat,
    "png": read_label_png,
    "csv": read_rle_csv,
}
