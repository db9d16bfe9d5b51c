"""Labels leave the project and come back equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from formats.pictures import write_picture
from handbone.config.params import SubmissionParams
from handbone.formats.coco import read_coco
from handbone.formats.export import class_order, data_set_labels, submission_labels, write_labels
from handbone.formats.labelme import read_labelme
from handbone.formats.labels import ReadOptions, mask, mask_pixels, polygon
from handbone.submission.csv import image_rows, write_submission
from handbone.utils.errors import UserError

if TYPE_CHECKING:
    from conftest import Fails

PIXELS = np.random.default_rng(0).random((30, 40)) < 0.5
POLYGONS = [polygon("b", [[1.5, 1], [20, 2], [9, 20.25]]), polygon("a", [[1, 1], [9, 1], [1, 9]])]


def write(root: Path, key: str, annotations: Any, subset: str = "train") -> None:
    write_picture(root / subset / f"DCM/{key}.png")
    file = root / ("train" if subset == "train" else "test_truth") / f"outputs_json/{key}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"annotations": annotations}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "root", "P1/x", POLYGONS)
    write(tmp_path / "root", "P2/y", [mask("b", PIXELS)])
    write(tmp_path / "root", "T/t", POLYGONS, "test")
    return tmp_path / "root"


def test_coco_comes_back_equal(root: Path, tmp_path: Path) -> None:
    images = data_set_labels(root, "train")
    write_labels(tmp_path / "out/labels.json", images, ["a", "b"], "coco")
    again = read_coco(tmp_path / "out/labels.json", ReadOptions(root / "train/DCM")).images
    assert [(one.name, one.picture, list(one.annotations)) for one in again] == [
        ("P1/x.png", root / "train/DCM/P1/x.png", POLYGONS),
        ("P2/y.png", root / "train/DCM/P2/y.png", [mask("b", PIXELS)]),
    ]
    assert [image.name for image in data_set_labels(root, "test")] == ["T/t.png"]


def test_labelme_comes_back_with_the_same_polygons_and_finds_the_pictures(root: Path, tmp_path: Path) -> None:
    write_labels(tmp_path / "labels", data_set_labels(root, "train"), ["a", "b"], "labelme")
    first, second = read_labelme(tmp_path / "labels", ReadOptions()).images
    assert (first.name, list(first.annotations)) == ("P1/x.png", POLYGONS)
    assert second.picture.resolve() == root / "train/DCM/P2/y.png"


def test_a_submission_becomes_labels(root: Path, tmp_path: Path) -> None:
    encoded = [mask("a", PIXELS)["rle"], ""]
    write_submission(tmp_path / "s.csv", image_rows("t.png", ["a", "b"], encoded))
    (image,) = submission_labels(tmp_path / "s.csv", root / "test/DCM", SubmissionParams())
    assert (image.name, [one["label"] for one in image.annotations]) == ("T/t.png", ["a"])
    assert np.array_equal(mask_pixels(image.annotations[0], ""), PIXELS)


def test_bad_sources_are_listed_and_nothing_is_overwritten(root: Path, tmp_path: Path, fails: Fails) -> None:
    images = data_set_labels(root, "train")
    for name in ("coco", "labelme"):
        with fails("export.target", "root"):
            write_labels(root, images, ["a", "b"], name)
    write_submission(tmp_path / "s.csv", [("none.png", "a", ""), ("t.png", "a", "0 1"), ("t.png", "b", "1 9999")])
    with pytest.raises(UserError) as caught:
        submission_labels(tmp_path / "s.csv", root / "test/DCM", SubmissionParams())
    assert [problem.code for problem in caught.value.problems] == ["export.image", "rle.syntax", "rle.syntax"]
    write(root, "P1/x", [polygon("b", [[1, 1], [99, 1], [1, 9]])])
    with fails("annotation.outside", "x.json"):
        data_set_labels(root, "train")
    (root / "train/DCM/P1/x.png").unlink()
    with fails("layout.pairing", "P1"):
        data_set_labels(root, "train")


def test_classes_keep_the_order_of_the_parameters(root: Path) -> None:
    images = data_set_labels(root, "train")
    assert class_order(images, ["b", "c", "a"]) == ["b", "c", "a"]
    assert class_order(images, ["b"]) == ["a", "b"]
