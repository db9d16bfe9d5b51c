"""COCO JSON in and out, against pycocotools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as reference

from handbone.formats.coco import coco_document, read_coco
from handbone.formats.coco_polygon import paint_polygon
from handbone.formats.coco_rle import counts_of_mask, counts_of_text, mask_of_counts, text_of_counts
from handbone.formats.labels import LabelledImage, ReadOptions, mask, mask_pixels, polygon
from handbone.masks.rasterize import rasterize

if TYPE_CHECKING:
    from conftest import Fails

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))
SIZE = (30, 40)
IMAGE = {"id": 1, "file_name": "a/x.jpg", "height": 30, "width": 40}
TRIANGLE = [2, 3, 20.5, 4, 10, 25]


def write(folder: Path, *annotations: dict[str, Any], **document: Any) -> Path:
    path = folder / "coco.json"
    categories = [{"id": 7, "name": "ulna"}, {"id": 2, "name": "radius"}, {"id": 9, "name": "unused"}]
    whole = [{"id": number, "image_id": 1, "category_id": 7, "iscrowd": 0} | one for number, one in enumerate(annotations)]
    path.write_text(json.dumps({"images": [IMAGE], "annotations": whole, "categories": categories} | document))
    return path


@given(MASKS)
@settings(deadline=None)
def test_counts_are_those_of_pycocotools(pixels: np.ndarray) -> None:
    theirs = reference.encode(np.asfortranarray(pixels.astype(np.uint8)))
    assert text_of_counts(counts_of_mask(pixels)) == theirs["counts"].decode()
    assert np.array_equal(mask_of_counts(counts_of_text(theirs["counts"].decode()), *pixels.shape), pixels)


@given(st.lists(st.integers(0, 2**31), max_size=20))
def test_any_counts_survive_compression(counts: list[int]) -> None:
    assert counts_of_text(text_of_counts(counts)) == counts


@pytest.mark.parametrize("text", ["!", "o", "P" * 3 + "\x7f", "ä"])
def test_a_text_that_is_no_encoding_is_refused(tmp_path: Path, text: str, fails: Fails) -> None:
    with fails("import.rle", "annotation 0"):
        read_coco(write(tmp_path, {"segmentation": {"size": list(SIZE), "counts": text}}), ReadOptions())


def test_polygons_masks_and_crowds_are_read(tmp_path: Path) -> None:
    pixels = np.zeros(SIZE, bool)
    pixels[4:20, 5:30] = True
    pixels[8:10, 8:10] = False
    counts = counts_of_mask(pixels)
    compressed = {"size": list(SIZE), "counts": text_of_counts(counts)}
    source = write(
        tmp_path,
        {"segmentation": [TRIANGLE, [0, 0, 5, 0, 0, 5]]},
        {"segmentation": compressed, "category_id": 2, "iscrowd": 1},
        {"segmentation": {"size": list(SIZE), "counts": counts}, "category_id": 2},
    )
    labels = read_coco(source, ReadOptions())
    (image,) = labels.images
    assert labels.classes == ["radius", "ulna"]
    assert (image.name, image.size, image.picture) == ("a/x.jpg", SIZE, tmp_path / "a/x.jpg")
    assert [one.get("points") for one in image.annotations[:2]] == [[[2, 3], [20.5, 4], [10, 25]], [[0, 0], [5, 0], [0, 5]]]
    assert all(np.array_equal(mask_pixels(one, ""), pixels) for one in image.annotations[2:])
    assert read_coco(source, ReadOptions(pictures=tmp_path / "b")).images[0].picture == tmp_path / "b/a/x.jpg"
    assert any("1 crowds" in note for note in labels.notes)


def test_a_polygon_is_painted_with_its_outline_which_pycocotools_paints_in_part() -> None:
    """The difference that docs/data.md states: at most the pixels that the outline touches."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        points = rng.integers(0, 60, (3, 2))
        theirs = reference.decode(reference.frPyObjects([points.ravel().astype(float).tolist()], 64, 64))[..., 0] > 0
        ours = rasterize([[points.astype(np.int32)]], (64, 64)).dense()[0]
        outline = rasterize([[points[[i, (i + 1) % 3]].astype(np.int32) for i in range(3)]], (64, 64)).dense()[0]
        grown = np.pad(outline, 1)
        near = np.any([grown[1 + y : 65 + y, 1 + x : 65 + x] for y in (-1, 0, 1) for x in (-1, 0, 1)], axis=0)
        assert not ((ours ^ theirs) & ~near).any()


@given(st.lists(st.tuples(st.floats(-3, 17), st.floats(-3, 14)), min_size=3, max_size=7))
@settings(deadline=None, max_examples=300)
def test_a_polygon_as_a_mask_is_that_of_pycocotools(points: list[tuple[float, float]]) -> None:
    flat = [number for point in points for number in point]
    theirs = reference.decode(reference.frPyObjects([flat], 12, 15))[..., 0] > 0
    assert np.array_equal(paint_polygon(points, 12, 15), theirs)


def test_polygons_with_whole_and_half_coordinates_are_painted_as_by_pycocotools() -> None:
    """Ties, repeated points, and edges along the grid."""
    rng = np.random.default_rng(0)
    for _ in range(500):
        points = (rng.integers(-2, 34, (rng.integers(3, 7), 2)) / 2).tolist()
        theirs = reference.decode(reference.frPyObjects([[number for point in points for number in point]], 12, 15))[..., 0] > 0
        assert np.array_equal(paint_polygon(points, 12, 15), theirs)


def test_several_polygons_of_an_annotation_become_one_mask(tmp_path: Path) -> None:
    flat = [TRIANGLE, [0, 0, 5, 0, 0, 5]]
    (image,) = read_coco(write(tmp_path, {"segmentation": flat}), ReadOptions(as_masks=True)).images
    theirs = reference.decode(reference.merge(reference.frPyObjects(flat, *SIZE))) > 0
    assert np.array_equal(mask_pixels(image.annotations[0], ""), theirs)


@pytest.mark.parametrize("points", [[1, 1, 1.1, 1, 1, 1.1], [1, 1, 1e300, 1, 1, 9]])
def test_a_polygon_that_paints_nothing_is_a_problem(tmp_path: Path, points: list[float], fails: Fails) -> None:
    with fails("import.polygon", "annotation 0"):
        read_coco(write(tmp_path, {"segmentation": [points]}), ReadOptions(as_masks=True))


def test_our_annotations_survive_the_way_through_coco(tmp_path: Path) -> None:
    pixels = np.zeros(SIZE, bool)
    pixels[4:20, 5:30] = pixels[25, 25] = True
    pixels[8:10, 8:10] = False
    annotations = [polygon("ulna", [[2, 3], [20.5, 4.25], [10, 25]]), mask("radius", pixels), polygon("ulna", [[1, 1], [9, 1], [1, 9]])]
    document = coco_document([LabelledImage("A/x.png", "", Path("x.png"), SIZE, annotations)], ["radius", "ulna"])
    (tmp_path / "out.json").write_text(json.dumps(document))
    again = read_coco(tmp_path / "out.json", ReadOptions())
    assert again.classes == ["radius", "ulna"]
    assert list(again.images[0].annotations) == annotations
    segmentation = document["annotations"][1]
    assert np.array_equal(reference.decode(segmentation["segmentation"]) > 0, pixels)
    assert segmentation["area"] == pixels.sum() == reference.area(segmentation["segmentation"])
    assert segmentation["bbox"] == reference.toBbox(segmentation["segmentation"]).tolist()


@pytest.mark.parametrize(
    ("annotation", "code"),
    [
        ({"segmentation": [TRIANGLE], "image_id": 5}, "import.reference"),
        ({"segmentation": [TRIANGLE], "category_id": 5}, "import.reference"),
        ({"segmentation": []}, "import.segmentation"),
        ({}, "import.segmentation"),
        ({"segmentation": [[1, 2, 3, 4]]}, "import.polygon"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "import.polygon"),
        ({"segmentation": {"size": [30, 40], "counts": [1200, 1]}}, "import.rle"),
        ({"segmentation": {"size": [30, 40], "counts": [1210, -10]}}, "import.rle"),
        ({"segmentation": {"size": [40, 30], "counts": [1200]}}, "import.rle"),
        ({"segmentation": {"size": [30, 40], "counts": "ä"}}, "import.rle"),
        ({"segmentation": [["1", 2, 3, 4, 5, 6]]}, "import.field"),
    ],
)
def test_a_bad_annotation_is_a_problem(tmp_path: Path, annotation: dict[str, Any], code: str, fails: Fails) -> None:
    with fails(code, "coco.json: annotation"):
        read_coco(write(tmp_path, {"segmentation": [TRIANGLE]}, annotation), ReadOptions())


def test_all_bad_annotations_are_listed(tmp_path: Path, fails: Fails) -> None:
    with fails("import.polygon", "annotation 0", "annotation 2"):
        read_coco(write(tmp_path, {"segmentation": [[1]]}, {"segmentation": [TRIANGLE]}, {"segmentation": [[1]]}), ReadOptions())


@pytest.mark.parametrize("name", ["/etc/x.jpg", "../x.jpg", "a/../../x.jpg", "", "a\0.jpg"])
def test_an_image_outside_of_the_folder_is_refused(tmp_path: Path, name: str, fails: Fails) -> None:
    with fails("import.name", "image 1"):
        read_coco(write(tmp_path, images=[IMAGE | {"file_name": name}]), ReadOptions())


def test_an_id_that_is_there_twice_is_refused(tmp_path: Path, fails: Fails) -> None:
    with fails("import.id", "image 1"):
        read_coco(write(tmp_path, images=[IMAGE, IMAGE]), ReadOptions())


@pytest.mark.parametrize("content", ["", "{", "[1", "\ud800"])
def test_a_file_that_is_no_json_is_refused(tmp_path: Path, content: str, fails: Fails) -> None:
    (tmp_path / "x.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with fails("import.json", "x.json"):
        read_coco(tmp_path / "x.json", ReadOptions())
