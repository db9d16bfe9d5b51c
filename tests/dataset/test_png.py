"""What a PNG says before it is decoded."""

import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import Fails
from handbone.dataset import png
from handbone.dataset.png import PngHeader, read_header, without_texts
from handbone.dataset.preprocess import read_image
from png_files import GREY, chunk, encode, exif, with_chunk

XMP = b'<rdf:Description tiff:Orientation="6"/>'
RAW = b"\nexif\n%8d\n%s\n" % (len(exif(6)), exif(6).hex().encode())


def test_the_header_of_a_plain_png() -> None:
    assert read_header(GREY) == PngHeader(40, 30, 8, 0, b"", 1, 1, 0)
    assert read_header(GREY + b"padding") == read_header(GREY)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        *[GREY[:length] for length in (8, 20, 33, 100, len(GREY) // 2, len(GREY) - 12, len(GREY) - 1)],  # cut off
        *[GREY[:at] + bytes([GREY[at] ^ 4]) + GREY[at + 1 :] for at in (17, 30, 60, len(GREY) - 20, len(GREY) - 2)],  # damaged
        GREY[:8] + GREY[33:],
        with_chunk(GREY, b"IHDR", GREY[16:29]),
        GREY[:8] + chunk(b"IEND", b""),
        GREY[:8] + chunk(b"IHDR", b"short") + GREY[33:],
    ],
)
def test_what_is_no_whole_png_is_refused(data: bytes, tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "x.png").write_bytes(data)
    with fails("image.decode", "x.png"):
        read_image(tmp_path / "x.png", 1)


@pytest.mark.parametrize(("suffix", "name"), [(".jpg", "JPEG"), (".bmp", "BMP")])
def test_another_format_is_named(suffix: str, name: str, tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "x.png").write_bytes(encode(np.zeros((8, 8), np.uint8), suffix))
    with fails("image.decode", "x.png") as error:
        read_image(tmp_path / "x.png", 1)
    assert name in error.value.problems[0].found


def test_the_number_of_chunks_is_bounded(tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(with_chunk(GREY, b"tEXt", b"a\0b"))
    monkeypatch.setattr(png, "MAX_CHUNKS", 4)  # header, text, pixels, end
    assert read_image(tmp_path / "x.png", 1).shape == (30, 40)
    monkeypatch.setattr(png, "MAX_CHUNKS", 3)
    with fails("image.decode", "x.png"):
        read_image(tmp_path / "x.png", 1)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"eXIf", exif(6)),
        (b"eXIf", exif(6, ">")),
        (b"eXIf", exif(6, ">", kind=4)),
        (b"eXIf", b"Exif\0\0" + exif(6)),
        (b"tEXt", b"Raw profile type exif\0" + RAW),
        (b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(RAW)),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0x\0" + zlib.compress(XMP)),
    ],
)
def test_an_orientation_is_found_wherever_viewers_look(kind: bytes, content: bytes) -> None:
    assert read_header(with_chunk(GREY, kind, content)).orientation == 6


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"eXIf", exif(1)),
        (b"eXIf", exif(0)),
        (b"eXIf", exif(9)),
        (b"eXIf", exif(6)[:14]),
        (b"eXIf", b""),
        (b"tEXt", b"Comment\0tiff:Orientation=6"),
        (b"zTXt", b"Raw profile type exif\0\0no zlib"),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(1 << 22))),
        (b"tEXt", b"Raw profile type exif\0\nexif\n 3\nxyz\n"),
        (b"iTXt", b"XML:com.adobe.xmp"),
    ],
)
def test_other_metadata_do_not_turn_the_image(kind: bytes, content: bytes) -> None:
    data = with_chunk(GREY, kind, content)
    assert read_header(without_texts(data)) == read_header(GREY)
    assert read_header(data).orientation == 1


@pytest.mark.parametrize(("kind", "head"), [(b"zTXt", b"k\0\0"), (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"), (b"iCCP", b"k\0\0")])
def test_texts_that_inflate_to_gigabytes_take_no_time(kind: bytes, head: bytes, tmp_path: Path) -> None:
    bomb = chunk(kind, head + zlib.compress(bytes(7_900_000)))
    (tmp_path / "x.png").write_bytes(GREY[:33] + bomb * 300 + GREY[33:])
    begin = time.perf_counter()
    assert np.array_equal(read_image(tmp_path / "x.png", 1), cv2.imdecode(np.frombuffer(GREY, np.uint8), cv2.IMREAD_GRAYSCALE))
    assert time.perf_counter() - begin < 2


def test_an_animation_has_frames() -> None:
    assert read_header(with_chunk(GREY, b"acTL", struct.pack(">II", 5, 0))).frames == 5
