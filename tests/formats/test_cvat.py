"""CVAT for images 1.1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from handbone.formats.cvat import read_cvat
from handbone.formats.labels import ReadOptions, mask_pixels

if TYPE_CHECKING:
    from conftest import Fails

TASK = "<meta><task><labels><label><name>ulna</name></label><label><name>radius</name></label></labels></task></meta>"


def write(path: Path, *shapes: str, name: str = "a/x.jpg", size: str = 'width="40" height="30"') -> Path:
    image = f'<image id="0" name="{name}" {size}>{"".join(shapes)}</image>'
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{TASK}{image}</annotations>')
    return path


def test_polygons_boxes_and_masks_are_read(tmp_path: Path) -> None:
    shapes = (
        '<tag label="ulna" source="manual"/>',
        '<polygon label="radius" source="manual" occluded="0" points="1.50,2.00;30.00,2.25;9.00,20.00" z_order="0"/>',
        '<box label="ulna" xtl="10.00" ytl="5.00" xbr="20.00" ybr="9.00"/>',
        '<box label="ulna" xtl="10.00" ytl="5.00" xbr="20.00" ybr="9.00" rotation="90"/>',
        '<mask label="ulna" rle="1, 3, 2, 1, 1" left="4" top="5" width="4" height="2"/>',
    )
    labels = read_cvat(write(tmp_path / "x.xml", *shapes), ReadOptions())
    (image,) = labels.images
    assert labels.classes == ["ulna", "radius"]
    assert (image.name, image.size, image.picture) == ("a/x.jpg", (30, 40), tmp_path / "a/x.jpg")
    drawn, box, turned, mask = image.annotations
    assert drawn == {"label": "radius", "type": "poly_seg", "points": [[1.5, 2], [30, 2.25], [9, 20]]}
    assert box["points"] == [[10, 5], [20, 5], [20, 9], [10, 9]]
    assert np.allclose(turned["points"], [[17, 2], [17, 12], [13, 12], [13, 2]])
    pixels = np.zeros((30, 40), bool)
    pixels[5, 5:8] = pixels[6, 6] = True
    assert np.array_equal(mask_pixels(mask, ""), pixels)


def test_pictures_are_beside_the_file_or_in_a_folder_images(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    assert read_cvat(write(tmp_path / "x.xml"), ReadOptions()).images[0].picture == tmp_path / "images/a/x.jpg"
    assert read_cvat(tmp_path / "x.xml", ReadOptions(pictures=Path("b"))).images[0].picture == Path("b/a/x.jpg")


@pytest.mark.parametrize(
    "shape",
    [
        '<polyline label="a" points="1,2;3,4"/>',
        '<polygon points="1,2;3,4;5,6"/>',
        '<polygon label="a" points="1,x;3,4;5,6"/>',
        '<box label="a" xtl="1"/>',
        '<mask label="a" rle="1, 3" left="4" top="5" width="4" height="2"/>',
        '<mask label="a" rle="8" left="38" top="5" width="4" height="2"/>',
        '<mask label="a" rle="8" left="-1" top="5" width="4" height="2"/>',
    ],
)
def test_a_shape_that_cannot_be_used_is_a_problem(tmp_path: Path, shape: str, fails: Fails) -> None:
    good = '<box label="ulna" xtl="10" ytl="5" xbr="20" ybr="9"/>'
    with fails("import.shape", "a/x.jpg: shape 1"):
        read_cvat(write(tmp_path / "x.xml", good, shape), ReadOptions())


def test_bad_files_and_images_are_problems(tmp_path: Path, fails: Fails) -> None:
    path = tmp_path / "x.xml"
    with fails("import.name", "x.xml"):
        read_cvat(write(path, name="../x.jpg"), ReadOptions())
    with fails("import.field", "a/x.jpg"):
        read_cvat(write(path, size='width="40"'), ReadOptions())
    for content in ("", "<annotations>", "<annotations></annotations", '<!DOCTYPE x [<!ENTITY a "b">]><annotations></annotations>'):
        path.write_text(content)
        with fails("import.xml", "x.xml"):
            read_cvat(path, ReadOptions())
    path.write_text('{"shapes": []}')
    with fails("import.format", "x.xml") as caught:
        read_cvat(path, ReadOptions())
    assert "handbone import labelme" in str(caught.value)
