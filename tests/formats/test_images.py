"""Pictures of every file format become 8-bit pixels, upright and without loss, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from formats.pictures import write_picture
from handbone.formats import images as room
from handbone.formats.images import list_files, picture_size, read_picture

if TYPE_CHECKING:
    from conftest import Fails


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "PNG"])
def test_grey_pictures_are_read_without_loss(tmp_path: Path, suffix: str) -> None:
    pixels = write_picture(tmp_path / f"x.{suffix}")
    assert np.array_equal(read_picture(tmp_path / f"x.{suffix}"), pixels)
    assert picture_size(tmp_path / f"x.{suffix}") == (30, 40)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "jpg"])
def test_colour_is_rgb(tmp_path: Path, suffix: str) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[...] = (200, 100, 0)
    Image.fromarray(pixels).save(tmp_path / f"x.{suffix}")
    found = read_picture(tmp_path / f"x.{suffix}").astype(int)
    assert found.shape == (16, 16, 3) and abs(found - pixels).max() <= 2


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "RGB"])
def test_grey_in_any_mode_is_grey(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.full((8, 9), 255, np.uint8)).convert(mode)
    image.save(tmp_path / "x.png")
    assert np.array_equal(read_picture(tmp_path / "x.png"), np.full((8, 9), 255))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_the_exif_orientation_is_applied_to_the_pixels(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    pixels = np.zeros((16, 24), np.uint8)
    pixels[:8, :8] = 255
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(pixels).save(path, exif=exif)
    plain = Image.fromarray(pixels)
    plain.getexif()[ExifTags.Base.Orientation] = orientation
    expected = np.asarray(ImageOps.exif_transpose(plain))
    found = read_picture(path)
    assert found.shape == expected.shape == picture_size(path)
    assert np.array_equal(found > 127, expected > 127)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_need_a_window(tmp_path: Path, suffix: str, fails: Fails) -> None:
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(np.array([[0, 999, 1000, 1500, 2000, 65535]], np.uint16)).save(path)
    with fails("import.bits", str(path)) as caught:
        read_picture(path)
    assert "0 to 65535" in str(caught.value)
    assert read_picture(path, window=(1000, 2000)).tolist() == [[0, 0, 0, 128, 255, 255]]


def test_a_window_leaves_pictures_of_8_bits_alone(tmp_path: Path) -> None:
    pixels = write_picture(tmp_path / "x.png")
    assert np.array_equal(read_picture(tmp_path / "x.png", window=(1000, 2000)), pixels)


def test_what_would_be_lost_is_refused(tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.full((8, 9, 4), 254, np.uint8)).save(path)
    with fails("import.alpha", str(path)):
        read_picture(path)
    Image.new("CMYK", (8, 9)).save(tmp_path / "x.jpg")
    with fails("import.mode", "x.jpg"):
        read_picture(tmp_path / "x.jpg")
    frames = [Image.new("L", (8, 9), grey) for grey in (1, 2)]
    frames[0].save(tmp_path / "x.tif", save_all=True, append_images=frames[1:])
    with fails("import.frames", "x.tif"):
        read_picture(tmp_path / "x.tif")
    monkeypatch.setattr(room, "MAX_PIXELS", 30)
    Image.new("L", (8, 9)).save(path)
    with fails("import.pixels", str(path)):
        read_picture(path)


def test_colour_of_16_bits_is_refused_even_with_a_window(tmp_path: Path, fails: Fails) -> None:
    """Pillow would keep the upper 8 bits without a word."""
    for suffix in ("png", "tif"):
        cv2.imwrite(str(tmp_path / f"x.{suffix}"), np.random.default_rng(0).integers(0, 2**16, (4, 5, 3), np.uint16))
        with fails("import.mode", f"x.{suffix}"):
            read_picture(tmp_path / f"x.{suffix}", window=(0, 100))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, suffix: str, fails: Fails) -> None:
    path = tmp_path / f"x.{suffix}"
    write_picture(path, 200, 200)
    content = path.read_bytes()
    for length in (0, 10, len(content) // 2):
        path.write_bytes(content[:length])
        with fails("import.picture", str(path)):
            read_picture(path)
    with fails("import.picture", "none.png"):
        read_picture(tmp_path / "none.png")


def test_files_are_listed_by_suffix_in_any_case_without_those_of_systems(tmp_path: Path) -> None:
    for name in ("b.PNG", "a/x.png", "a/x.txt", ".x.png", "__MACOSX/x.png", "a/._x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path, (".png",))] == ["a/x.png", "b.PNG"]
