"""Sources with any value in any place, and with any bytes, are read or refused: nothing but a `UserError`."""

from __future__ import annotations

import base64
import copy
import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from formats.pictures import write_picture
from handbone.formats.images import picture_size, read_picture
from handbone.formats.labels import ReadOptions
from handbone.formats.people import person_rule
from handbone.formats.registry import READERS
from handbone.formats.write import WriteOptions, write_data_set
from handbone.utils.errors import UserError
from handbone.utils.io import remove_folder

SQUARE = [[1, 1], [9, 1], [9, 9], [1, 9]]
JUNK = [None, -1, 0, 1, 10**9, 10**400, 1e308, 0.5, True, "", "x", "\ud800", "../x", [], [[]], {}, {"a": 1}, [1, 2], "9" * 50]


def png() -> str:
    file = io.BytesIO()
    Image.fromarray(np.ones((4, 5), bool)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


SHAPES = [
    {"label": "a", "points": SQUARE, "shape_type": "polygon"},
    {"label": "a", "points": [[5, 5], [9, 9]], "shape_type": "circle"},
    {"label": "b", "points": [[5, 5], [9, 8]], "shape_type": "mask", "mask": png()},
]
DOCUMENTS: dict[str, Any] = {
    "labelme": {"shapes": SHAPES, "imagePath": "x.png", "imageData": None, "imageHeight": 30, "imageWidth": 40},
    "coco": {
        "images": [{"id": 1, "file_name": "x.png", "height": 30, "width": 40}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": [[1, 1, 9, 1, 9, 9]]},
            {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": {"size": [30, 40], "counts": [100, 5, 1095]}},
        ],
    },
}
TEXTS = {
    "cvat": '<annotations><image name="x.png" width="40" height="30"><box label="a" xtl="1" ytl="1" xbr="9" ybr="9"/>'
    '<polygon label="a" points="1,1;9,1;9,9"/><mask label="b" rle="1, 3" left="4" top="5" width="2" height="2"/></image></annotations>',
    "csv": "image,class,rle\nx,a,1 2 5 1\nx,b,\n",
}


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with every key or number in it."""
    for key in list(document) if isinstance(document, dict) else range(len(document)):
        yield document, key
        if isinstance(document[key], dict | list):
            yield from places(document[key])


def attempt(name: str, folder: Path, as_masks: bool = False) -> None:
    """Import the source in the folder; a `UserError` is fine, and then nothing is there."""
    source = folder if name == "labelme" else folder / "source"
    with suppress(UserError):
        labels = READERS[name](source, ReadOptions(folder, as_masks=as_masks))
        write_data_set(folder / "root", labels.images, [], False, WriteOptions(labels.classes, person_rule(None)))
        remove_folder(folder / "root")
    assert not [path for path in folder.iterdir() if "root" in path.name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    write_picture(folder / "x.png")
    return folder


@pytest.mark.parametrize("name", DOCUMENTS)
@given(data=st.data())
@settings(deadline=None, max_examples=150, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_any_place_of_a_document(folder: Path, name: str, data: st.DataObject) -> None:
    document = copy.deepcopy(DOCUMENTS[name])
    for _ in range(data.draw(st.integers(1, 2))):
        container, key = data.draw(st.sampled_from(list(places(document))))
        container[key] = data.draw(st.sampled_from(JUNK))
    (folder / ("x.json" if name == "labelme" else "source")).write_text(json.dumps(document))
    attempt(name, folder, data.draw(st.booleans()))


@pytest.mark.parametrize("name", TEXTS)
@given(data=st.data())
@settings(deadline=None, max_examples=150, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_a_text(folder: Path, name: str, data: st.DataObject) -> None:
    text = TEXTS[name]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 6, len(text))))
    replacement = data.draw(st.sampled_from(["", "-", "9" * 25, "nan", "x", '"', ",", "<", "\0", "é", " "]))
    (folder / "source").write_text(text[:start] + replacement + text[end:])
    attempt(name, folder)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of some damage
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
@given(data=st.data())
@settings(deadline=None, max_examples=100, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_of_a_picture(folder: Path, suffix: str, data: st.DataObject) -> None:
    path = folder / f"damaged.{suffix}"
    write_picture(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    readers: list[Callable[[Path], object]] = [read_picture, picture_size]
    for read in readers:
        with suppress(UserError):
            read(path)
    path.unlink()
