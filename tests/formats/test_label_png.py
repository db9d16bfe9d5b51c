"""Label images: values and palettes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from formats.pictures import write_picture
from handbone.formats.label_png import read_label_png
from handbone.formats.labels import ReadOptions, mask_pixels

if TYPE_CHECKING:
    from conftest import Fails

VALUES = np.random.default_rng(0).integers(0, 3, (30, 40))


def write(path: Path, mode: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(VALUES.astype(np.uint16 if mode == "I;16" else np.uint8))
    if mode == "P":
        image.putpalette([7, 7, 7, 200, 0, 0, 0, 200, 0])
    if mode == "1":
        image = Image.fromarray(VALUES > 0)
    image.save(path)


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_each_value_is_a_mask_to_the_pixel(tmp_path: Path, mode: str) -> None:
    write(tmp_path / "labels/p/x.png", mode)
    write_picture(tmp_path / "images/p/x.jpg")
    labels = read_label_png(tmp_path / "labels", ReadOptions(tmp_path / "images", {2: "radius", 1: "ulna", 9: "other"}))
    (image,) = labels.images
    assert labels.classes == ["ulna", "radius"]
    assert (image.name, image.size, image.picture) == ("p/x.jpg", (30, 40), tmp_path / "images/p/x.jpg")
    for annotation, value in zip(image.annotations, (1, 2), strict=True):
        assert np.array_equal(mask_pixels(annotation, ""), value == VALUES)


def test_black_and_white_images_have_the_value_1(tmp_path: Path) -> None:
    write(tmp_path / "labels/x.png", "1")
    write_picture(tmp_path / "images/x.png")
    (image,) = read_label_png(tmp_path / "labels", ReadOptions(tmp_path / "images", {1: "bone"})).images
    assert np.array_equal(mask_pixels(image.annotations[0], ""), VALUES > 0)


def test_all_faults_are_listed(tmp_path: Path, fails: Fails) -> None:
    options = ReadOptions(tmp_path / "images", {1: "ulna"})
    for name in ("x", "y"):
        write(tmp_path / f"labels/{name}.png", "L")
    write_picture(tmp_path / "images/x.png")
    write_picture(tmp_path / "images/y.png")
    with fails("import.value", "x.png") as caught:
        read_label_png(tmp_path / "labels", options)
    assert "1=NAME,2=NAME" in str(caught.value)
    for name in ("x", "y"):
        Image.new("RGB", (40, 30)).save(tmp_path / f"labels/{name}.png")
    with fails("import.label_image", "x.png", "y.png"):
        read_label_png(tmp_path / "labels", options)
    write(tmp_path / "labels/x.png", "L")
    write(tmp_path / "labels/y.png", "L")
    (tmp_path / "images/x.png").unlink()
    write_picture(tmp_path / "images/y.bmp")
    with fails("import.picture", "x.png", "y.png"):
        read_label_png(tmp_path / "labels", ReadOptions(tmp_path / "images", {1: "ulna", 2: "radius"}))
    with fails("import.option", "--images"):
        read_label_png(tmp_path / "labels", ReadOptions())
