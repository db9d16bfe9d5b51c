"""LabelMe JSON in and out. Counts and hashes of pixels are those of `shape_to_mask` of LabelMe 6.3.1 in an image of 80 x 64."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from formats.pictures import write_picture
from handbone.dataset.annotation import check_annotations
from handbone.formats.labelme import embedded_picture, labelme_document, read_labelme
from handbone.formats.labels import LabelledImage, ReadOptions, mask, polygon
from handbone.formats.source import read_document
from handbone.masks.rasterize import rasterize

if TYPE_CHECKING:
    from conftest import Fails

SIZE = (64, 80)
SQUARE = [[1, 1], [9, 1], [9, 9], [1, 9]]


def shape(kind: str | None, points: Any, label: str = "a", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}} | more


def write(path: Path, *shapes: dict[str, Any], **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": "x.png", "imageData": None}
    path.write_text(json.dumps(document | {"imageHeight": SIZE[0], "imageWidth": SIZE[1]} | more))
    return path


def painted(image: LabelledImage, size: tuple[int, int] = SIZE) -> np.ndarray:
    polygons, problems = check_annotations("", image.annotations, ["a"], size, allow_missing=True)
    assert not problems
    return rasterize(polygons, size).dense()[0]


def read(path: Path, **options: Any) -> LabelledImage:
    (image,) = read_labelme(path, ReadOptions(**options)).images
    return image


@pytest.mark.parametrize(
    ("kind", "points", "pixels", "sha256", "differing"),
    [
        ("circle", [[40.3, 30.1], [48, 36.6]], 349, "e150a6f3dec71cf5", 0),
        ("circle", [[70, 5], [75, 9]], 136, "34fbd1ce8ddb820e", 0),  # over the edge of the image
        ("polygon", [[10.4, 8.2], [50.6, 12.9], [44.1, 40.5], [12.2, 33.3]], 997, "c469fa5d422fa502", 42),
        ("rectangle", [[60, 50], [20.5, 44.2]], 287, "ea8b3f2dc2b65d46", 0),
        ("oriented_rectangle", [[10, 10], [30, 20], [25, 30], [5, 20]], 266, "2f486afde2fd9fed", 20),
    ],
)
def test_shapes_are_painted_as_labelme_paints_them_or_differ_in_as_many_pixels(
    tmp_path: Path, kind: str, points: Any, pixels: int, sha256: str, differing: int
) -> None:
    source = write(tmp_path / "x.json", shape(kind, points))
    theirs = painted(read(source, as_masks=True))
    assert (theirs.sum(), hashlib.sha256(theirs.tobytes()).hexdigest()[:16]) == (pixels, sha256)
    assert (painted(read(source)) ^ theirs).sum() == differing


def test_a_mask_is_read_to_the_pixel(tmp_path: Path) -> None:
    crop = np.random.default_rng(0).random((5, 7)) < 0.5
    file = io.BytesIO()
    Image.fromarray(crop).save(file, "PNG")
    encoded = base64.b64encode(file.getvalue()).decode()
    found = painted(read(write(tmp_path / "x.json", shape("mask", [[3, 2], [9, 6]], mask=encoded))))
    assert np.array_equal(found[2:7, 3:10], crop) and found.sum() == crop.sum()


def test_the_picture_is_beside_the_file_in_a_folder_or_inside(tmp_path: Path) -> None:
    inside = base64.b64encode(b"pixels").decode()
    file = write(tmp_path / "p/x.json", shape(None, SQUARE), imagePath="..\\pictures\\x.jpg", imageData=inside)
    image = read(tmp_path)
    assert (image.name, image.embedded, embedded_picture(image.picture)) == ("p/x.jpg", True, b"pixels")
    write_picture(tmp_path / "pictures/x.jpg", *SIZE)
    assert read(tmp_path).picture.resolve() == tmp_path / "pictures/x.jpg"
    write_picture(tmp_path / "others/p/x.jpg", *SIZE)
    write(file, shape(None, SQUARE), imagePath="x.jpg", imageHeight=None)
    assert read(tmp_path / "p", pictures=tmp_path / "others/p").picture == tmp_path / "others/p/x.jpg"
    assert read(tmp_path, pictures=tmp_path / "others").size == SIZE


@pytest.mark.parametrize(("labelme", "code"), [(True, "import.format"), (False, "import.source")])
def test_a_folder_where_a_file_is_expected_is_named(tmp_path: Path, fails: Fails, labelme: bool, code: str) -> None:
    """With the right command if it holds LabelMe's files."""
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "x.json").write_text(json.dumps({"shapes": [], "imagePath": "x.png"} if labelme else {"epochs": 3}))
    with fails(code) as caught:
        read_document(folder, "coco")
    assert caught.value.places == [str(folder)]


def test_our_annotations_survive_the_way_through_labelme(tmp_path: Path) -> None:
    """Polygons as they are; masks become polygons, and masks where a polygon would have no area, and are painted to the pixel."""
    pixels = np.random.default_rng(1).random(SIZE) < 0.6
    image = LabelledImage("A/x.png", "", tmp_path / "x.png", SIZE, [polygon("a", [[1.5, 2], [30, 2.25], [9, 44]])])
    masked = LabelledImage("A/x.png", "", tmp_path / "x.png", SIZE, [mask("a", pixels)])
    for name, one in (("p", image), ("m", masked)):
        (tmp_path / f"{name}.json").write_text(json.dumps(labelme_document(one, tmp_path)))
    write_picture(tmp_path / "x.png", *SIZE)
    assert read(tmp_path / "p.json").annotations == image.annotations
    assert read(tmp_path / "p.json").picture == tmp_path / "x.png"
    assert np.array_equal(painted(read(tmp_path / "m.json")), pixels)


@pytest.mark.parametrize(
    "bad",
    [
        shape("point", [[1, 1]]),
        shape("linestrip", SQUARE),
        shape("polygon", SQUARE[:2]),
        shape("rectangle", SQUARE),
        shape("circle", [[1, 1]]),
        shape("polygon", [[1, 2, 3]] * 3),
        shape("mask", [[3, 2], [9, 6]]),
        shape("mask", [[3, 2], [9, 6]], mask="ä"),
    ],
)
def test_a_shape_without_an_area_is_a_problem(tmp_path: Path, bad: dict[str, Any], fails: Fails) -> None:
    write(tmp_path / "x.json", shape("polygon", SQUARE), bad)
    write(tmp_path / "y.json", bad)
    with fails("import.shape", "x.json: shape 1", "y.json: shape 0"):
        read_labelme(tmp_path, ReadOptions())


def test_another_format_is_named(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "x.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with fails("import.format", "x.json") as caught:
        read_labelme(tmp_path, ReadOptions())
    assert "handbone import coco" in str(caught.value)
    (tmp_path / "x.json").write_text('{"annotations": [{"label": "a", "points": []}]}')
    with fails("import.format", "x.json"):
        read_labelme(tmp_path, ReadOptions())
    with fails("import.source", "none"):
        read_labelme(tmp_path / "none", ReadOptions())
